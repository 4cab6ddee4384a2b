package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// errComplete: there is nothing to do.
var errComplete = errors.New("the file is complete")

// identity is what an export is of. One that is not finished can only go on as what it was begun as.
type identity struct {
	AppID  string   `json:"app_id"`
	Format string   `json:"format"`
	Excel  bool     `json:"excel"`
	Fields []string `json:"fields"`
}

func identityOf(appID string, cfg config) identity {
	fields := columnNames()
	if cfg.format == "jsonl" {
		fields = []string{"profile", "tags", "error"}
	}
	return identity{AppID: appID, Format: cfg.format, Excel: cfg.excel, Fields: fields}
}

// place is where an export goes: a file that gets its name when it is complete. Until then it is "….part", and beside
// it lies "….part.json", which says what it is of, and is locked by who works on it.
type place struct {
	out, part string
	note      *os.File
}

// takePlace gives the place, with a part that is of this identity or does not exist.
func takePlace(out string, id identity, force bool) (*place, error) {
	p := &place{out: out, part: out + ".part"}
	var err error
	if p.note, err = os.OpenFile(p.part+".json", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err = lock(p.note); err == nil {
		err = p.prepare(id, force)
	}
	if err != nil {
		_ = p.note.Close()
		return nil, err
	}
	return p, nil
}

func (p *place) prepare(id identity, force bool) error {
	begun := exists(p.part)
	if exists(p.out) && !force {
		if !begun { // it was killed at the very end
			_ = p.dropNote()
		}
		return errComplete
	}
	want, err := json.Marshal(id)
	if err != nil {
		return err
	}
	have, err := io.ReadAll(p.note)
	if err != nil {
		return err
	}
	switch {
	case begun && bytes.Equal(have, want):
		return nil
	case begun && !force:
		return fmt.Errorf("%s is the beginning of another export, %s, and not of %s: finish that one, or give it up with -force", p.part, have, want)
	case begun:
		if err := p.dropPart(); err != nil {
			return err
		}
	}
	// The note is on the disk before there is a part, so that no part is without one.
	if err := p.note.Truncate(0); err != nil {
		return err
	}
	if _, err := p.note.WriteAt(want, 0); err != nil {
		return err
	}
	return errors.Join(p.note.Sync(), syncDir(p.out))
}

// dropPart removes a part, and the journal of SQLite that a kill may have left beside it.
func (p *place) dropPart() error {
	for _, name := range []string{p.part + "-journal", p.part} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(p.out)
}

// finish gives the part, which is on the disk, its name.
func (p *place) finish() error {
	if err := os.Rename(p.part, p.out); err != nil {
		return err
	}
	return errors.Join(syncDir(p.out), p.dropNote())
}

func (p *place) dropNote() error {
	return errors.Join(p.note.Close(), os.Remove(p.note.Name()))
}

// leave keeps an export that is not finished.
func (p *place) leave() { _ = p.note.Close() }

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// syncDir makes new, removed and renamed files of a folder last. Not all systems can, and some need not.
func syncDir(file string) error {
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	_ = dir.Sync()
	return dir.Close()
}
