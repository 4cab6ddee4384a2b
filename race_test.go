//go:build race

package wechatuser_test

func init() { underRace = true }
