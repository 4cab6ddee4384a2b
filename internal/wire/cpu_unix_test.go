//go:build unix

package wire

import (
	"syscall"
	"time"
)

// cpuTime returns the CPU time of this process, which includes the garbage collector. Other programs on the machine
// affect it less than elapsed time.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
