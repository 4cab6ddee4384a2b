package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// stateFile persists the account between runs. Without a path it does nothing.
type stateFile struct {
	path    string
	account *wechatusertest.Server

	mu sync.Mutex
}

// open loads the account from the file. If the file does not exist, open creates it, so that a path that cannot be
// written is reported at the start.
func (s *stateFile) open() error {
	if s.path == "" {
		return nil
	}
	file, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.save()
	}
	if err != nil {
		return fmt.Errorf("-state: %w", err)
	}
	defer file.Close()
	if err := s.account.Load(file); err != nil {
		return fmt.Errorf("-state: %s is not a valid account and was not changed: %w", s.path, err)
	}
	return nil
}

// save replaces the file atomically.
func (s *stateFile) save() error {
	if s.path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(); err != nil {
		return fmt.Errorf("cannot save the account: %w", err)
	}
	return nil
}

func (s *stateFile) replace() error {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(s.path); err == nil {
		mode = info.Mode().Perm()
	}
	file, err := os.CreateTemp(filepath.Dir(s.path), "."+filepath.Base(s.path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // already renamed on success
	err = errors.Join(s.account.Save(file), file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), s.path)
}
