//go:build unix

package benchmarks

import (
	"syscall"
	"time"
)

// cpuTime is what this process has taken of the processors, the collector included and the server not. Other programs
// that keep the machine busy disturb it less than the time on the clock.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
