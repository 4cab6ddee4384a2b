package export

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

// errComplete is returned by openOutput if there is nothing to do.
var errComplete = errors.New("the file is complete")

// ErrRunning is returned if another process writes the same file.
var ErrRunning = errors.New("another export to this file is running")

// OtherError says that a part file belongs to another export: complete that one, or discard it with Force.
type OtherError struct {
	Part       string
	Have, Want string // what the part file has, and what this export writes, as JSON
}

func (e *OtherError) Error() string {
	return fmt.Sprintf("%s belongs to another export, %s, not to %s", e.Part, e.Have, e.Want)
}

// identity describes the content of a file. An export is resumed only if its identity is the same.
type identity struct {
	AppID  string   `json:"app_id"`
	Format string   `json:"format"`
	Excel  bool     `json:"excel"`
	Fields []string `json:"fields"`
}

func identityOf(appID string, cfg Config) identity {
	fields := columnNames()
	if cfg.Format == "jsonl" {
		fields = []string{"profile", "tags", "error"}
	}
	return identity{AppID: appID, Format: cfg.Format, Excel: cfg.Excel, Fields: fields}
}

// output is the file of an export. Until it is complete, its name is "….part". Beside it, "….part.json" contains its
// identity and is locked by the running export.
type output struct {
	out, part string
	meta      *os.File // ….part.json
}

// openOutput locks and prepares the output. The part file then has this identity or does not exist.
func openOutput(out string, id identity, force bool) (*output, error) {
	o := &output{out: out, part: out + ".part"}
	var err error
	if o.meta, err = os.OpenFile(o.part+".json", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err = lock(o.meta); err == nil {
		err = o.prepare(id, force)
	}
	if err != nil {
		_ = o.meta.Close()
		return nil, err
	}
	return o, nil
}

func (o *output) prepare(id identity, force bool) error {
	partExists := exists(o.part)
	if exists(o.out) && !force {
		if !partExists { // killed after the rename
			_ = o.removeMeta()
		}
		return errComplete
	}
	want, err := json.Marshal(id)
	if err != nil {
		return err
	}
	have, err := io.ReadAll(o.meta)
	if err != nil {
		return err
	}
	switch {
	case partExists && bytes.Equal(have, want):
		return nil
	case partExists && !force:
		return &OtherError{o.part, string(have), string(want)}
	case partExists:
		if err := o.removePart(); err != nil {
			return err
		}
	}
	// The meta file is synced before the part file is created, so that no part file is without one.
	if err := o.meta.Truncate(0); err != nil {
		return err
	}
	if _, err := o.meta.WriteAt(want, 0); err != nil {
		return err
	}
	return errors.Join(o.meta.Sync(), syncDir(o.out))
}

// removePart removes the part file, and the SQLite journal that a kill may have left beside it.
func (o *output) removePart() error {
	for _, name := range []string{o.part + "-journal", o.part} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(o.out)
}

// finish renames the part file, which must be synced, to its final name.
func (o *output) finish() error {
	if err := os.Rename(o.part, o.out); err != nil {
		return err
	}
	return errors.Join(syncDir(o.out), o.removeMeta())
}

func (o *output) removeMeta() error {
	return errors.Join(o.meta.Close(), os.Remove(o.meta.Name()))
}

// close releases the lock and keeps the incomplete export.
func (o *output) close() { _ = o.meta.Close() }

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// syncDir syncs the folder of a file, so that created, removed and renamed files are durable. It ignores systems that
// cannot do that.
func syncDir(file string) error {
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	_ = dir.Sync()
	return dir.Close()
}
