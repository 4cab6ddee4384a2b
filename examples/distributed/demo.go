package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const demoTag = "会员"

// demo runs a whole job on this machine, kills a worker in the middle, and compares the account with the expected
// result.
func demo(ctx context.Context, cfg config, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "wechatuser-distributed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := demoList{cfg.fans, cfg.bad}
	account := wechatusertest.NewServer(wechatusertest.WithFans(cfg.fans))
	defer account.Close()
	file := filepath.Join(dir, "openids.txt")
	if err := l.write(file, account); err != nil {
		return err
	}
	c, err := startCluster(ctx, account, dir, cfg.limit, stderr)
	if err != nil {
		return err
	}
	defer c.close()
	j, err := c.openJob()
	if err != nil {
		return err
	}
	defer j.close()

	d := &demoRun{cluster: c, job: j, out: stdout, start: time.Now()}
	fmt.Fprintf(stdout, "%d openids, %d workers, Redis on %s, the account on %s\n",
		cfg.fans, cfg.workers, c.address(), c.URL)
	processCtx, stop := context.WithCancel(ctx)
	defer func() { stop(); err = errors.Join(err, d.wait()) }()
	if err := d.startRole(processCtx, "producer", "-tag", demoTag, "-file", file); err != nil {
		return err
	}
	for range cfg.workers {
		if err := d.startRole(processCtx, "worker"); err != nil {
			return err
		}
	}
	victim := d.running[len(d.running)-1]
	if err := d.watch(ctx, "killed one worker, starting another", func(s *summary) bool {
		return s.produced && s.done > s.openIDs/3
	}); err != nil {
		return err
	}
	_ = victim.Process.Kill()
	d.killed = victim
	if err := sleep(ctx, time.Second); err != nil { // like a supervisor
		return err
	}
	if err := d.startRole(processCtx, "worker"); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "      Its tasks return to the queue when its lease has expired after 60 s; "+
		"the queue checks once a minute.")
	if err := d.watch(ctx, "all chunks are done", (*summary).complete); err != nil {
		return err
	}
	return l.check(ctx, d)
}

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
		if exit := cmd.Wait(); exit != nil && cmd != d.killed && !errors.Is(exit, context.Canceled) {
			err = errors.Join(err, fmt.Errorf("%s: %w", cmd.Args[1], exit))
		}
	}
	return err
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

// demoList is the list of openids of the demo, some of which the platform rejects.
type demoList struct {
	n   int
	bad float64 // share of rejected openids
}

// at returns openid i and its errcode, 0 if it is valid.
func (l demoList) at(i int) (string, wechatuser.Code) {
	if l.bad > 0 {
		if every := int(1 / l.bad); i%every == every-1 {
			switch i / every % 3 {
			case 0:
				return wechatusertest.OpenID(i), wechatuser.CodeUserUnsubscribed
			case 1:
				return wechatusertest.ForeignOpenID(i), wechatuser.CodeOpenIDMismatch
			default:
				return wechatusertest.OpenID(l.n + i), wechatuser.CodeInvalidOpenID // does not exist
			}
		}
	}
	return wechatusertest.OpenID(i), 0
}

// write writes the file, and removes the former followers from the account.
func (l demoList) write(name string, account *wechatusertest.Server) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	for i := range l.n {
		id, code := l.at(i)
		if code == wechatuser.CodeUserUnsubscribed {
			account.Unfollow(id)
		}
		fmt.Fprintln(out, id)
	}
	return errors.Join(out.Flush(), f.Close())
}

// check compares the account and the results of the job with the list.
func (l demoList) check(ctx context.Context, d *demoRun) error {
	s, err := d.job.summary(ctx)
	if err != nil {
		return err
	}
	s.print(d.out)
	missing, wrong := l.n, 0
	tagged := make(map[string]struct{}, l.n)
	for _, tag := range d.Tags() {
		for _, id := range d.TagFans(tag.ID) {
			tagged[id] = struct{}{}
		}
	}
	for i := range l.n {
		id, code := l.at(i)
		_, has := tagged[id]
		rejected, reported := s.rejected[id]
		if has || reported {
			missing--
		}
		if has != (code == 0) || reported == has || rejected.Code != code {
			wrong++
		}
	}
	tokens := d.Calls("/cgi-bin/stable_token")
	fmt.Fprintf(d.out, "account    %d followers tagged, %d openids neither tagged nor reported, %d wrong; "+
		"token requests: %d\n", len(tagged), missing, wrong, tokens)
	if missing+wrong > 0 || len(tagged)+len(s.rejected) != l.n || tokens != 1 {
		return errors.New("the result is not as expected")
	}
	return nil
}
