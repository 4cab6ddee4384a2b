package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// demoRun is a running demo.
type demoRun struct {
	*cluster
	job     *job
	out     io.Writer
	start   time.Time
	running []*exec.Cmd
	killed  *exec.Cmd
}

func (d *demoRun) startRole(ctx context.Context, role string, flags ...string) error {
	cmd, err := d.cluster.start(ctx, role, flags...)
	if err == nil {
		d.running = append(d.running, cmd)
	}
	return err
}

// wait waits until all processes have exited, after their context was canceled.
func (d *demoRun) wait() (err error) {
	for _, cmd := range d.running {
		exit := cmd.Wait()
		if exit == nil || cmd == d.killed || errors.Is(exit, context.Canceled) || isTerminated(cmd.ProcessState) {
			continue
		}
		err = errors.Join(err, fmt.Errorf("%s: %w", cmd.Args[1], exit))
	}
	return err
}

// isTerminated reports whether SIGTERM ended a process: it was so young that it did not catch the signal yet.
func isTerminated(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// watch prints the progress until a condition is true.
func (d *demoRun) watch(ctx context.Context, message string, until func(*summary) bool) error {
	terminal := isTerminal(d.out)
	for printed := (time.Time{}); ; {
		s, err := d.job.summary(ctx)
		if err != nil {
			return err
		}
		finished := until(s)
		if terminal || finished || time.Since(printed) > 10*time.Second {
			took := time.Since(d.start)
			fmt.Fprintf(d.out, "%4.0fs %9d done %7.0f per second %3d chunks open %7d calls, token requests: %d",
				took.Seconds(), s.done, float64(s.done)/took.Seconds(), s.open, d.Calls("*"), d.Calls("/cgi-bin/stable_token"))
			switch {
			case finished:
				fmt.Fprintf(d.out, " (%s)\n", message)
				return nil
			case terminal:
				fmt.Fprint(d.out, "\r")
			default:
				fmt.Fprintln(d.out)
			}
			printed = time.Now()
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
