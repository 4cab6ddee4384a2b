package wechatuser

import (
	"runtime/debug"
	"strings"
)

// release is the version of this code, or of the last release before it. tools/release sets it.
const release = "0.1.0"

// Version is the version of this module, without a "v": the one that the program was built with, as "go version -m"
// shows it, or that of the last release where the program does not know it. It is not meant to be set.
var Version = buildVersion(debug.ReadBuildInfo())

// buildVersion returns the version of this module in a program that requires it.
func buildVersion(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return release
	}
	for _, m := range info.Deps {
		if m.Path != "github.com/wechatuser/wechatuser" {
			continue
		}
		if m.Replace != nil {
			m = m.Replace // a fork with a version, or a folder without one
		}
		if version, ok := strings.CutPrefix(m.Version, "v"); ok {
			return version
		}
	}
	return release
}
