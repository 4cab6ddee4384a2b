package testutil

import "os"

// Full reports whether models, matrices and fuzz seeds run at full size: the environment variable WECHATUSER_FULL is
// set. By default they run a share of it.
var Full = os.Getenv("WECHATUSER_FULL") != ""
