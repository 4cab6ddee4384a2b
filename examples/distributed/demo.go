package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

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
