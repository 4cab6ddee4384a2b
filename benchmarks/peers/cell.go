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
	cellEnv     = "WECHATUSER_PEERS_CELL" // tells a process that it is to measure one cell, and which
	cellTimeout = time.Minute
	// A memory cache that is read without its lock may end the process: "concurrent map read and map write".
	cellAttempts = 3
)

// cell is what the process for one cell is told.
type cell struct {
	Peer, Measurement string
	Server            string // URL of a simulator in the parent, for what must not count the server's own work
	Out               string // file for the result; standard output may have lines of an SDK's logger
}

// measure returns a row for each measurement with a text for each peer, which is empty where the error has the reason.
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
				c := cell{Peer: p.name, Measurement: m.name, Server: srv.URL, Out: filepath.Join(dir, fmt.Sprint(i, "-", j))}
				text, err := startCell(ctx, c)
				table[i][j], errs[j] = text, errors.Join(errs[j], err)
			}
		})
	}
	wg.Wait()
	return table, errors.Join(errs...)
}

// startCell runs this program again for one cell.
func startCell(ctx context.Context, c cell) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	order, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	race := "atexit_sleep_ms=0" // with -race, do not wait at the end
	if c.Peer != wechatuserPeer.name {
		race += " exitcode=0" // the races of others are no failure of this program
	}
	ctx, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	var failures []error
	for range cellAttempts {
		var stderr strings.Builder
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), cellEnv+"="+string(order), "GORACE="+race)
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			failures = append(failures, fmt.Errorf("%s, %s: %w: %.2000s", c.Peer, c.Measurement, err, stderr.String()))
			continue
		}
		text, err := os.ReadFile(c.Out)
		if n := len(failures); n > 0 {
			text = fmt.Appendf(text, " (failed runs before: %d)", n)
		}
		return string(text), err
	}
	return "", errors.Join(failures...)
}

// runCell measures one cell if this process was started for that.
func runCell() bool {
	order, ok := os.LookupEnv(cellEnv)
	if !ok {
		return false
	}
	err := func() error {
		var c cell
		if err := json.Unmarshal([]byte(order), &c); err != nil {
			return err
		}
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == c.Peer })
		j := slices.IndexFunc(measurements, func(m measurement) bool { return m.name == c.Measurement })
		if i < 0 || j < 0 {
			return errors.New("no such cell")
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
