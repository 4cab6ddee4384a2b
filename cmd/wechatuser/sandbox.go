package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// sandboxAccount is the account of --sandbox.
type sandboxAccount struct {
	*wechatusertest.Server
	state string // file that keeps it, "" for none
}

// openSandbox returns a client of an account in memory. It is the same account at each start, or that of the state file.
func (a *app) openSandbox(opts ...wechatuser.Option) (*wechatuser.Client, error) {
	if a.settings.fans < 0 {
		return nil, usageError(a.tr("--sandbox-fans must not be negative", "--sandbox-fans 不能为负数"))
	}
	acc := &sandboxAccount{wechatusertest.NewServer(wechatusertest.WithoutListener()), a.settings.state}
	if err := acc.open(a.settings.fans); err != nil {
		return nil, &exitError{exitUsage, err}
	}
	a.sandboxed = acc
	if !a.json {
		fmt.Fprintf(a.err, a.tr("Using an account in memory with %d followers.\n", "正在使用内存中的模拟账号，共 %d 个用户。\n"),
			len(acc.OpenIDs()))
	}
	return acc.Client(opts...), nil
}

// open loads the account from its file, or fills a new one.
func (acc *sandboxAccount) open(fans int) error {
	if acc.state != "" {
		file, err := os.Open(acc.state)
		if err == nil {
			defer file.Close()
			return acc.Load(file)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for i := range fans {
		acc.Follow(wechatusertest.OpenID(i))
	}
	acc.AddTag("vip", acc.OpenIDs()[:min(10, fans)]...)
	return acc.save() // a file that cannot be written is reported before the work
}

// close saves the account.
func (acc *sandboxAccount) close() error {
	defer acc.Server.Close()
	return acc.save()
}

func (acc *sandboxAccount) save() error {
	if acc.state == "" {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(acc.state), "."+filepath.Base(acc.state)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // renamed already on success
	if err := errors.Join(acc.Save(file), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), acc.state)
}
