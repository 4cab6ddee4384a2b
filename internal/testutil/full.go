package testutil

import (
	"os"

	"github.com/wechatuser/wechatuser/internal/testutil/race"
)

// Full reports whether models, matrices and fuzz seeds run at full size: the environment variable WECHATUSER_FULL is
// set. By default they run a share of it. It is a function so that go test sees the variable when it caches results.
func Full() bool { return os.Getenv("WECHATUSER_FULL") != "" }

// RaceEnabled reports whether the tests run under the race detector.
const RaceEnabled = race.Enabled
