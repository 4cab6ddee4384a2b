//go:build !linux

package mirror_test

import "syscall"

// endWithTest does nothing: only Linux can end a server with the tests.
func endWithTest(attr *syscall.SysProcAttr) *syscall.SysProcAttr { return attr }
