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

// demo does a whole job on this machine, kills a worker in the middle, and compares the account with what it should be.
func demo(ctx context.Context, cfg config, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "wechatuser-distributed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := list{cfg.fans, cfg.bad}
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

	d := &show{cluster: c, job: j, out: stdout, began: time.Now()}
	fmt.Fprintf(stdout, "%d openids, %d workers, Redis on %s, the account on %s\n", cfg.fans, cfg.workers, c.address(), c.URL)
	processes, end := context.WithCancel(ctx)
	defer func() { end(); err = errors.Join(err, d.wait()) }()
	if err := d.start(processes, "producer", "-tag", demoTag, "-file", file); err != nil {
		return err
	}
	for range cfg.workers {
		if err := d.start(processes, "worker"); err != nil {
			return err
		}
	}
	victim := d.running[len(d.running)-1]
	if err := d.watch(ctx, "killed one worker, and start another", func(s *summary) bool {
		return s.produced && s.done > s.openIDs/3
	}); err != nil {
		return err
	}
	_ = victim.Process.Kill()
	d.killed = victim
	if err := sleep(ctx, time.Second); err != nil { // as a supervisor would
		return err
	}
	if err := d.start(processes, "worker"); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "      its tasks come back after 60 s without a sign of life, when the queue, which looks once a minute, sees it")
	if err := d.watch(ctx, "all chunks have their result", (*summary).complete); err != nil {
		return err
	}
	return l.check(ctx, d)
}

// show is a demo that is running.
type show struct {
	*cluster
	job     *job
	out     io.Writer
	began   time.Time
	running []*exec.Cmd
	killed  *exec.Cmd
}

func (d *show) start(ctx context.Context, role string, flags ...string) error {
	cmd, err := d.cluster.start(ctx, role, flags...)
	if err == nil {
		d.running = append(d.running, cmd)
	}
	return err
}

// wait waits until all processes have ended, which the end of their context makes them do.
func (d *show) wait() (err error) {
	for _, cmd := range d.running {
		if end := cmd.Wait(); end != nil && cmd != d.killed && !errors.Is(end, context.Canceled) {
			err = errors.Join(err, fmt.Errorf("%s: %w", cmd.Args[1], end))
		}
	}
	return err
}

// watch prints the progress until something is true.
func (d *show) watch(ctx context.Context, what string, until func(*summary) bool) error {
	terminal := isTerminal(d.out)
	for printed := (time.Time{}); ; {
		s, err := d.job.summary(ctx)
		if err != nil {
			return err
		}
		over := until(s)
		if terminal || over || time.Since(printed) > 10*time.Second {
			took := time.Since(d.began)
			fmt.Fprintf(d.out, "%4.0fs %9d done %7.0f a second %3d chunks open %7d calls %2d token requests",
				took.Seconds(), s.done, float64(s.done)/took.Seconds(), s.open, d.Calls("*"), d.Calls("/cgi-bin/stable_token"))
			switch {
			case over:
				fmt.Fprintf(d.out, ": %s\n", what)
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

// list is the openids of the demo, some of which the platform refuses.
type list struct {
	n   int
	bad float64
}

// at is the i-th openid and the errcode that it gets, 0 for none.
func (l list) at(i int) (string, wechatuser.Code) {
	if l.bad > 0 {
		if every := int(1 / l.bad); i%every == every-1 {
			switch i / every % 3 {
			case 0:
				return wechatusertest.OpenID(i), wechatuser.CodeUserUnsubscribed
			case 1:
				return wechatusertest.ForeignOpenID(i), wechatuser.CodeOpenIDMismatch
			default:
				return wechatusertest.OpenID(l.n + i), wechatuser.CodeInvalidOpenID // never seen here
			}
		}
	}
	return wechatusertest.OpenID(i), 0
}

// write makes the file, and some followers of the account leave.
func (l list) write(name string, account *wechatusertest.Server) error {
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

// check compares the account and the results with the list.
func (l list) check(ctx context.Context, d *show) error {
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
		refusal, named := s.refused[id]
		if has || named {
			missing--
		}
		if has != (code == 0) || named == has || refusal.Code != code {
			wrong++
		}
	}
	tokens := d.Calls("/cgi-bin/stable_token")
	fmt.Fprintf(d.out, "the account: %d followers have the tag, %d openids are neither tagged nor named, %d wrong; %d token requests\n",
		len(tagged), missing, wrong, tokens)
	if missing+wrong > 0 || len(tagged)+len(s.refused) != l.n || tokens != 1 {
		return errors.New("this is not what it should be")
	}
	return nil
}
