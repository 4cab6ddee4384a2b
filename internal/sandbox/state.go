package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// StateFile persists an account between runs. Without a path it does nothing.
type StateFile struct {
	Path    string
	Account *wechatusertest.Server

	mu sync.Mutex
}

// Open loads the account from the file. If the file does not exist, Open creates it, so that a path that cannot be
// written is reported at the start.
func (s *StateFile) Open() error {
	if s.Path == "" {
		return nil
	}
	file, err := os.Open(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.Save()
	}
	if err != nil {
		return say("state file: %v", "状态文件：%v", err)
	}
	defer file.Close()
	if err := s.Account.Load(file); err != nil {
		return say("state file: %[1]s is not a valid account and was not changed: %[2]v",
			"状态文件：%[1]s 不是有效的账号，文件未改动：%[2]v", s.Path, err)
	}
	return nil
}

// Save replaces the file atomically.
func (s *StateFile) Save() error {
	if s.Path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(); err != nil {
		return say("cannot save the account: %v", "无法保存账号：%v", err)
	}
	return nil
}

func (s *StateFile) replace() error {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(s.Path); err == nil {
		mode = info.Mode().Perm()
	}
	file, err := os.CreateTemp(filepath.Dir(s.Path), "."+filepath.Base(s.Path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // already renamed on success
	err = errors.Join(s.Account.Save(file), file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), s.Path)
}
