package wechatuser_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser"
)

func TestBuildVersion(t *testing.T) {
	const path = "github.com/wechatuser/wechatuser"
	nested := debug.Module{Path: path + "/redisstore", Version: "v7.0.0"}
	for _, test := range []struct {
		name, want string
		module     debug.Module
	}{
		{"a release", "1.2.3", debug.Module{Path: path, Version: "v1.2.3"}},
		{"a commit", "1.2.4-0.20261128120000-0123456789ab",
			debug.Module{Path: path, Version: "v1.2.4-0.20261128120000-0123456789ab"}},
		{"a workspace", wechatuser.Version, debug.Module{Path: path, Version: "(devel)"}},
		{"a folder instead", wechatuser.Version,
			debug.Module{Path: path, Version: "v1.2.3", Replace: &debug.Module{Path: "../.."}}},
		{"a fork instead", "1.2.5",
			debug.Module{Path: path, Version: "v1.2.3", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.2.5"}}},
		{"another module", wechatuser.Version, debug.Module{Path: path + "x", Version: "v1.2.3"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			info := &debug.BuildInfo{Deps: []*debug.Module{&nested, &test.module}}

			assert.Equal(t, test.want, wechatuser.BuildVersion(info, true))
		})
	}
	assert.Equal(t, wechatuser.Version, wechatuser.BuildVersion(nil, false))
}

// This module's own tests are no program that requires it.
func TestVersion(t *testing.T) {
	assert.Regexp(t, `^\d+\.\d+\.\d+$`, wechatuser.Version)
}
