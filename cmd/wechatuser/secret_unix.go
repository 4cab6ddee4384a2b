//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup gives a command a process group of its own, which is ended as a whole. On a terminal it is the group in the
// foreground until restore is called, so that the command can ask for a passphrase.
func ownGroup(cmd *exec.Cmd) (restore func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return func() {}
	}
	fd, own := int(terminal.Fd()), unix.Getpgrp()
	if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || group != own {
		_ = terminal.Close()
		return func() {}
	}
	cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, fd
	signal.Ignore(syscall.SIGTTOU) // which a process gets that is not in the foreground and changes that
	return func() {
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, own)
		signal.Reset(syscall.SIGTTOU)
		_ = terminal.Close()
	}
}

func diedOfInterrupt(state *os.ProcessState) bool {
	if state == nil {
		return false
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGINT
}
