//go:build race

package wechatuser

func init() { underRaceDetector = true }
