package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	cellEnv     = "WECHATUSER_PEERS_CELL" // tells a process which cell to measure
	cellTimeout = time.Minute
	// Reading a memory cache without its lock can crash the process: "concurrent map read and map write".
	cellAttempts = 3
)

// cell tells a process what to measure.
type cell struct {
	Peer, Measurement string
	Server            string // URL of a simulator in the parent, for measurements that exclude the server
	Out               string // file for the result; standard output may contain logs of an SDK
}

// measure returns one row per measurement, with one cell per peer. A cell is empty if its measurement failed; the error
// has the reason.
func measure(ctx context.Context, peers []peer, measurements []measurement) ([][]string, error) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(pageSize))
	defer srv.Close()
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	table := make([][]string, len(measurements))
	for i := range table {
		table[i] = make([]string, len(peers))
	}
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for j, p := range peers {
		wg.Go(func() {
			for i, m := range measurements {
				out := filepath.Join(dir, fmt.Sprint(i, "-", j))
				c := cell{Peer: p.name, Measurement: m.name, Server: srv.URL, Out: out}
				text, err := measureCell(ctx, c)
				table[i][j], errs[j] = text, errors.Join(errs[j], err)
			}
		})
	}
	wg.Wait()
	return table, errors.Join(errs...)
}

// measureCell runs this program again for one cell and returns its text.
func measureCell(ctx context.Context, c cell) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	config, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	race := "atexit_sleep_ms=0" // with -race, do not sleep at exit
	if c.Peer != wechatuserPeer.name {
		race += " exitcode=0" // races of other SDKs are not failures of this program
	}
	ctx, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	var failures []error
	for range cellAttempts {
		var stderr strings.Builder
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), cellEnv+"="+string(config), "GORACE="+race)
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			failures = append(failures, fmt.Errorf("%s, %s: %w: %.2000s", c.Peer, c.Measurement, err, stderr.String()))
			continue
		}
		text, err := os.ReadFile(c.Out)
		if n := len(failures); n > 0 {
			text = fmt.Appendf(text, " (after %d failed runs)", n)
		}
		return string(text), err
	}
	return "", errors.Join(failures...)
}

// runCell measures one cell and returns true, if this process was started to do so.
func runCell() bool {
	config, ok := os.LookupEnv(cellEnv)
	if !ok {
		return false
	}
	err := func() error {
		var c cell
		if err := json.Unmarshal([]byte(config), &c); err != nil {
			return err
		}
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == c.Peer })
		j := slices.IndexFunc(measurements, func(m measurement) bool { return m.name == c.Measurement })
		if i < 0 || j < 0 {
			return errors.New("unknown cell")
		}
		text, err := measurements[j].run(context.Background(), peers[i], c.Server)
		if err != nil {
			return err
		}
		return os.WriteFile(c.Out, []byte(text), 0o600)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}
