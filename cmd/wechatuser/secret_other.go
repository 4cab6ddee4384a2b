//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// ownGroup does nothing: only the command itself is ended.
func ownGroup(*exec.Cmd) (restore func()) { return func() {} }

func diedOfInterrupt(*os.ProcessState) bool { return false }
