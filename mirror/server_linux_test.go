package mirror_test

import "syscall"

// endWithTest makes a server end with the tests, however they end.
func endWithTest(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	attr.Pdeathsig = syscall.SIGKILL
	return attr
}
