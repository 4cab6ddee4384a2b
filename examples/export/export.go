package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/wechatuser/wechatuser"
)

// export begins an export or goes on with one, and tells how it ended.
func export(ctx context.Context, acc account, cfg config, stdout, stderr io.Writer) error {
	began := time.Now()
	at, err := takePlace(cfg.out, identityOf(acc.AppID(), cfg), cfg.force)
	if errors.Is(err, errComplete) {
		fmt.Fprintf(stdout, "%s is there, and complete. To export again, give -force.\n", cfg.out)
		return nil
	}
	if err != nil {
		return err
	}
	e := &exporter{account: acc, cfg: cfg, stderr: stderr, seen: make(map[string]struct{})}
	if err := e.write(ctx, at.part); err != nil {
		at.leave()
		return fmt.Errorf("stopped with %d followers in %s: %w\nStart it again with the same arguments to go on", e.rows, at.part, err)
	}
	if err := at.finish(); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d followers in %s, %d of them refused, %d calls, %v\n%s\n",
		e.rows, cfg.out, e.refused, acc.calls.Load(), time.Since(began).Round(time.Millisecond), howToOpen(cfg))
	return nil
}

func howToOpen(cfg config) string {
	switch cfg.format {
	case "sqlite":
		return fmt.Sprintf("Open it: sqlite3 %s \"SELECT tags, count(*) FROM followers GROUP BY tags\"", cfg.out)
	case "jsonl":
		return fmt.Sprintf("Open it: head -n 3 %s", cfg.out)
	}
	if cfg.excel {
		return "Open it with a double click, in Excel."
	}
	return "Open it with a spreadsheet program. Excel needs an export with -excel."
}

// exporter writes followers into a file.
type exporter struct {
	account
	cfg    config
	stderr io.Writer

	seen          map[string]struct{} // the openids that are in the file or in batch
	last          string              // the openid of the last row
	rows, refused int                 // in the file
	batch         []row

	sink     sink
	tagNames map[int]string
	bar      *progressbar.ProgressBar
}

// write fills the file, and returns when it is complete and on the disk.
func (e *exporter) write(ctx context.Context, path string) (err error) {
	if e.sink, err = openSink(e.cfg, path); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.sink.close()) }()
	if err := e.sink.resume(e.found); err != nil {
		return fmt.Errorf("%s cannot be gone on with, remove it to begin anew: %w", path, err)
	}
	resumed := e.rows > 0
	if resumed && !e.cfg.quiet {
		fmt.Fprintf(e.stderr, "%s has %d followers: going on after them.\n", path, e.rows)
	}
	if e.tagNames, err = e.tags(ctx); err != nil {
		return err
	}
	page, err := e.GetFans(ctx, "") // for the total, which AllFans does not tell
	if err != nil {
		return err
	}
	if left := page.Total - e.rows; left > 0 && !e.cfg.quiet && isTerminal(e.stderr) {
		e.bar = newBar(e.stderr, left)
	}
	err = e.walk(ctx, wechatuser.StartAfter(e.last))
	if resumed && (errors.Is(err, wechatuser.ErrInvalidArgument) || err == nil && len(e.seen) < page.Total) {
		// The last follower may have left, or the platform may have forgotten the place: it does not promise to know it
		// for ever. From the top, only those who are not in the file are fetched.
		err = e.walk(ctx)
	}
	if e.bar != nil {
		_ = e.bar.Exit()
		fmt.Fprintln(e.stderr)
	}
	return err
}

func (e *exporter) found(openID string, refused bool) {
	e.seen[openID] = struct{}{}
	e.last = openID
	e.rows++
	if refused {
		e.refused++
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

// walk writes the followers of a list who are not in the file.
func (e *exporter) walk(ctx context.Context, from ...wechatuser.ListOption) error {
	users := e.BulkUserInfo(ctx, e.unseen(e.AllFans(ctx, from...)), wechatuser.WithConcurrency(e.cfg.concurrency))
	for user, err := range users {
		r, err := newRow(user, err, e.tagNames)
		if err != nil {
			return errors.Join(err, e.flush())
		}
		if _, seen := e.seen[r.user.OpenID]; seen {
			continue // the list named it twice in a short time
		}
		e.seen[r.user.OpenID] = struct{}{}
		if e.batch = append(e.batch, r); len(e.batch) == e.cfg.batch {
			if err := e.flush(); err != nil {
				return err
			}
		}
		if e.bar != nil {
			_ = e.bar.Add(1)
		}
	}
	return e.flush()
}

// unseen leaves out who is in the file already: a walk from the top comes by them all, and somebody who leaves and comes
// back may have two places in a list.
func (e *exporter) unseen(openIDs iter.Seq2[string, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for id, err := range openIDs {
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
			e.refused++
		}
	}
	e.batch = e.batch[:0]
	return nil
}
