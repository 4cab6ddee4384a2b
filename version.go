package wechatuser

import (
	"runtime/debug"
	"strings"
)

// release is the version of the last release up to this code. tools/release sets it.
const release = "0.1.0"

// Version is the version of this module that the program was built with, without the "v", as shown by "go version -m".
// If the program has no record of it, Version is that of the last release. Do not set it.
var Version = buildVersion(debug.ReadBuildInfo())

// buildVersion returns the version of this module that the build info of a program has, or release if it has none.
func buildVersion(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return release
	}
	for _, m := range info.Deps {
		if m.Path != "github.com/wechatuser/wechatuser" {
			continue
		}
		if m.Replace != nil {
			m = m.Replace // a fork, which has a version, or a folder, which has none
		}
		if version, ok := strings.CutPrefix(m.Version, "v"); ok {
			return version
		}
	}
	return release
}
