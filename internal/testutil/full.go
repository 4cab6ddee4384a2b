package testutil

import "os"

// Full reports whether models, matrices and fuzz seeds run at full size: the environment variable WECHATUSER_FULL is
// set. By default they run a share of it. It is a function so that go test sees the variable when it caches results.
func Full() bool { return os.Getenv("WECHATUSER_FULL") != "" }
