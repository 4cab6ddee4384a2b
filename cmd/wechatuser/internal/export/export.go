// Package export writes all followers of an account, with their profiles and tag names, to a CSV, JSON Lines or SQLite
// file. It can be killed at any time, and resumes when it is run again with the same [Config].
package export

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// Formats are the formats of a file.
var Formats = []string{"csv", "jsonl", "sqlite"}

// FormatOf returns the format for the extension of a file name, or "" if it is unknown.
func FormatOf(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return "csv"
	case ".jsonl", ".ndjson":
		return "jsonl"
	case ".db", ".sqlite", ".sqlite3":
		return "sqlite"
	}
	return ""
}

// Config says what to write, and where.
type Config struct {
	File        string
	Format      string // one of [Formats]
	Excel       bool   // CSV with a byte order mark, and with a ' before text that looks like a formula
	Concurrency int    // calls at a time; 0 for 4
	Force       bool   // replace a complete file, or discard the incomplete file of another export
	Batch       int    // rows per write, and thus the maximum read again after a kill; 0 for 1000

	// Stop stops the export when it is closed: what is in flight is written first. It may be nil.
	Stop <-chan struct{}
	// Resumed is called once if the file has rows already. It may be nil.
	Resumed func(rows int, part string)
	// Progress is called for each follower, with the number of those that this run has read and has to read. It may
	// be nil.
	Progress func(done, total int)
}

// Result is the outcome of an export.
type Result struct {
	Complete       bool // the file was complete already, and nothing was done
	Rows, Rejected int  // in the file; rejected are those without a profile
	Resumed        int  // rows that were in the file at the start
}

// StoppedError says that an export has stopped. What is in the part file stays there, and the same export resumes.
type StoppedError struct {
	Part string
	Rows int // in the part file
	Err  error
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("stopped with %d followers in %s: %v", e.Rows, e.Part, e.Err)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// ErrStop is the error of an export that Stop has stopped.
var ErrStop = errors.New("interrupted")

// UnreadableError says that a part file cannot be resumed.
type UnreadableError struct {
	Part string
	Err  error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("cannot resume %s, remove it to start over: %v", e.Part, e.Err)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// Run starts or resumes an export. An error after the first call is a [*StoppedError].
func Run(ctx context.Context, c *wechatuser.Client, cfg Config) (Result, error) {
	if !slices.Contains(Formats, cfg.Format) {
		return Result{}, fmt.Errorf("unknown format %q", cfg.Format)
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 4
	}
	if cfg.Batch == 0 {
		cfg.Batch = 1000
	}
	o, err := openOutput(cfg.File, identityOf(c.AppID(), cfg), cfg.Force)
	if errors.Is(err, errComplete) {
		return Result{Complete: true}, nil
	}
	if err != nil {
		return Result{}, err
	}
	e := &exporter{Client: c, cfg: cfg, seen: make(map[string]struct{})}
	if err := e.write(ctx, o.part); err != nil {
		o.close()
		return e.result(), err
	}
	return e.result(), o.finish()
}

// exporter writes followers to a file.
type exporter struct {
	*wechatuser.Client
	cfg Config

	seen                    map[string]struct{} // openids in the file and in batch
	last                    string              // cursor: the openid of the last row
	rows, rejected, resumed int                 // in the file
	batch                   []row
	read, total             int // for Progress

	sink     sink
	tagNames map[int]string
}

func (e *exporter) result() Result {
	return Result{Rows: e.rows, Rejected: e.rejected, Resumed: e.resumed}
}

// write writes the file, and returns when it is complete and synced to disk.
func (e *exporter) write(ctx context.Context, path string) (err error) {
	if e.sink, err = openSink(e.cfg, path); err != nil {
		return err
	}
	if err := e.sink.resume(e.addExisting); err != nil {
		return errors.Join(&UnreadableError{path, err}, e.sink.close())
	}
	if e.resumed = e.rows; e.resumed > 0 && e.cfg.Resumed != nil {
		e.cfg.Resumed(e.rows, path)
	}
	if err := errors.Join(e.writeRows(ctx), e.sink.close()); err != nil {
		return &StoppedError{path, e.rows, err}
	}
	return nil
}

// writeRows writes the followers who are not in the file.
func (e *exporter) writeRows(ctx context.Context) (err error) {
	if e.tagNames, err = e.tags(ctx); err != nil {
		return err
	}
	page, err := e.GetFans(ctx, "") // for the total, which AllFans does not return
	if err != nil {
		return err
	}
	e.total = max(page.Total-e.rows, 0)
	err = e.walk(ctx, wechatuser.StartAfter(e.last))
	if e.resumed > 0 && (errors.Is(err, wechatuser.ErrInvalidArgument) || err == nil && len(e.seen) < page.Total) {
		// The platform may reject the cursor if that follower has left, and does not document how long it is valid.
		// Start from the beginning: profiles that are in the file are not read again.
		err = e.walk(ctx)
	}
	return err
}

// addExisting records a row that is in the file of a resumed export.
func (e *exporter) addExisting(openID string, rejected bool) {
	e.seen[openID] = struct{}{}
	e.last = openID
	e.rows++
	if rejected {
		e.rejected++
	}
}

func (e *exporter) tags(ctx context.Context) (map[int]string, error) {
	tags, err := e.GetTags(ctx)
	names := make(map[int]string, len(tags))
	for _, tag := range tags {
		names[tag.ID] = tag.Name
	}
	return names, err
}

// walk writes the followers of the list that are not in the file.
func (e *exporter) walk(ctx context.Context, from ...wechatuser.ListOption) error {
	users := e.BulkUserInfo(ctx, e.input(e.AllFans(ctx, from...)), wechatuser.WithConcurrency(e.cfg.Concurrency))
	for user, err := range users {
		r, err := newRow(user, err, e.tagNames)
		if err != nil {
			return errors.Join(err, e.flush())
		}
		if _, seen := e.seen[r.user.OpenID]; seen {
			continue // a duplicate within the calls in flight
		}
		e.seen[r.user.OpenID] = struct{}{}
		if e.batch = append(e.batch, r); len(e.batch) == e.cfg.Batch {
			if err := e.flush(); err != nil {
				return err
			}
		}
		if e.read++; e.cfg.Progress != nil {
			e.cfg.Progress(e.read, max(e.read, e.total))
		}
	}
	return e.flush()
}

// input is the list until Stop is closed, without the openids that are in the file: a walk from the beginning lists
// them again, and a follower who has left and come back may be listed twice.
func (e *exporter) input(openIDs iter.Seq2[string, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for id, err := range openIDs {
			select {
			case <-e.cfg.Stop:
				yield("", ErrStop)
				return
			default:
			}
			if _, seen := e.seen[id]; seen && err == nil {
				continue
			}
			if !yield(id, err) {
				return
			}
		}
	}
}

func (e *exporter) flush() error {
	if len(e.batch) == 0 {
		return nil
	}
	if err := e.sink.write(e.batch); err != nil {
		return err
	}
	for _, r := range e.batch {
		e.rows++
		if r.err != "" {
			e.rejected++
		}
	}
	e.batch = e.batch[:0]
	return nil
}
