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

// export starts or resumes an export, and prints the result.
func export(ctx context.Context, acc account, cfg config, stdout, stderr io.Writer) error {
	start := time.Now()
	o, err := openOutput(cfg.out, identityOf(acc.AppID(), cfg), cfg.force)
	if errors.Is(err, errComplete) {
		fmt.Fprintf(stdout, "%s is already complete. To export again, use -force.\n", cfg.out)
		return nil
	}
	if err != nil {
		return err
	}
	e := &exporter{account: acc, cfg: cfg, stderr: stderr, seen: make(map[string]struct{})}
	if err := e.write(ctx, o.part); err != nil {
		o.close()
		return fmt.Errorf("stopped with %d followers in %s: %w\nTo resume, run it again with the same arguments",
			e.rows, o.part, err)
	}
	if err := o.finish(); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d followers in %s, %d of them rejected. API calls: %d, time: %v\n%s\n",
		e.rows, cfg.out, e.rejected, acc.calls.Load(), time.Since(start).Round(time.Millisecond), howToOpen(cfg))
	return nil
}

func howToOpen(cfg config) string {
	switch cfg.format {
	case "sqlite":
		return fmt.Sprintf("To open it: sqlite3 %s \"SELECT tags, count(*) FROM followers GROUP BY tags\"", cfg.out)
	case "jsonl":
		return fmt.Sprintf("To open it: head -n 3 %s", cfg.out)
	}
	if cfg.excel {
		return "Open it in Excel."
	}
	return "Open it in a spreadsheet program. For Excel, export with -excel."
}

// exporter writes followers to a file.
type exporter struct {
	account
	cfg    config
	stderr io.Writer

	seen           map[string]struct{} // openids in the file and in batch
	last           string              // cursor: the openid of the last row
	rows, rejected int                 // in the file
	batch          []row

	sink     sink
	tagNames map[int]string
	bar      *progressbar.ProgressBar
}

// write writes the file, and returns when it is complete and synced to disk.
func (e *exporter) write(ctx context.Context, path string) (err error) {
	if e.sink, err = openSink(e.cfg, path); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.sink.close()) }()
	if err := e.sink.resume(e.addExisting); err != nil {
		return fmt.Errorf("cannot resume %s, remove it to start over: %w", path, err)
	}
	resumed := e.rows > 0
	if resumed && !e.cfg.quiet {
		fmt.Fprintf(e.stderr, "Resuming after the %d followers in %s.\n", e.rows, path)
	}
	if e.tagNames, err = e.tags(ctx); err != nil {
		return err
	}
	page, err := e.GetFans(ctx, "") // for the total, which AllFans does not return
	if err != nil {
		return err
	}
	if left := page.Total - e.rows; left > 0 && !e.cfg.quiet && isTerminal(e.stderr) {
		e.bar = newBar(e.stderr, left)
	}
	err = e.walk(ctx, wechatuser.StartAfter(e.last))
	if resumed && (errors.Is(err, wechatuser.ErrInvalidArgument) || err == nil && len(e.seen) < page.Total) {
		// The platform may reject the cursor if that follower has left, and does not document how long it is valid.
		// Start from the beginning: profiles that are in the file are not read again.
		err = e.walk(ctx)
	}
	if e.bar != nil {
		_ = e.bar.Exit()
		fmt.Fprintln(e.stderr)
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
	users := e.BulkUserInfo(ctx, e.skipSeen(e.AllFans(ctx, from...)), wechatuser.WithConcurrency(e.cfg.concurrency))
	for user, err := range users {
		r, err := newRow(user, err, e.tagNames)
		if err != nil {
			return errors.Join(err, e.flush())
		}
		if _, seen := e.seen[r.user.OpenID]; seen {
			continue // a duplicate within the calls in flight
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

// skipSeen filters out the openids that are in the file: a walk from the beginning lists them again, and a follower who
// has left and come back may be listed twice.
func (e *exporter) skipSeen(openIDs iter.Seq2[string, error]) iter.Seq2[string, error] {
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
			e.rejected++
		}
	}
	e.batch = e.batch[:0]
	return nil
}
