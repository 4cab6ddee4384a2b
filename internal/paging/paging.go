// Package paging walks lists that come in pages.
package paging

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
)

// Page is a part of a list.
type Page struct {
	Items []string
	Next  string // the cursor of the next page, or empty
	Total int    // the length of the list as the platform states it, 0 if it states none
}

// Fetch returns the page after a cursor. The empty cursor is the beginning of the list.
type Fetch func(ctx context.Context, cursor string) (Page, error)

// CursorError reports that a list returned a cursor twice, so that it would never end.
type CursorError struct {
	Cursor string
}

func (e *CursorError) Error() string {
	return fmt.Sprintf("the list returned the cursor %q twice, so it would never end", e.Cursor)
}

// Errors of a list that would never end.
var (
	ErrRepeated = errors.New("the list returned a page twice, so it would never end")
	ErrTooLong  = errors.New("the list is more than twice as long as it says, so it would never end")
)

// slack is how many items a list may always have beyond twice its total: two large pages.
const slack = 20_000

// Walk returns the pages of a list, from the page after cursor on. The list ends with an empty page; totals of the
// platform can be wrong, and the last page has a cursor like all others. If a page has items and no cursor, its last
// item is used as the cursor. If the page fetched with it repeats an earlier one and has no cursor either, the list
// ends too; but if the total says that items are missing, the walk fails with [ErrRepeated].
//
// Empty items are dropped, and so is the cursor if a page begins with it. Pages without remaining items are skipped.
// Walk modifies the slices that Fetch returns.
//
// The first error ends the walk: that of Fetch, a [*CursorError], [ErrRepeated] or [ErrTooLong]. The total limits a
// list only roughly, since it can be hours old, and people join while the list is read.
func Walk(ctx context.Context, cursor string, fetch Fetch) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		w := walk{whole: cursor == "", cursor: cursor, cursors: make(map[string]bool), pages: make(map[uint64]bool), seed: maphash.MakeSeed()}
		for {
			page, err := fetch(ctx, w.cursor)
			if err != nil {
				yield(nil, err)
				return
			}
			items, err := w.take(page)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(items) > 0 && !yield(items, nil) || w.ended {
				return
			}
		}
	}
}

// walk is the state of a walk. It grows with the number of pages, and keeps no page in memory.
type walk struct {
	whole   bool   // the walk began at the beginning of the list
	cursor  string // of the page to fetch
	doubted bool   // cursor is the last item of a page that had no cursor
	ended   bool

	cursors map[string]bool // that were used
	pages   map[uint64]bool // hashes of the pages so far
	seed    maphash.Seed
	items   int // so far
	total   int // the largest so far
}

// take adds the next page and returns its items.
func (w *walk) take(page Page) ([]string, error) {
	if len(page.Items) == 0 {
		w.ended = true
		return nil, nil
	}
	w.cursors[strings.Clone(w.cursor)] = true // so that a stored cursor does not keep its page in memory
	items := withoutCursor(page.Items, w.cursor)
	next := page.Next
	if next == "" && len(items) > 0 {
		next = items[len(items)-1]
	}
	repeated := w.cursors[next]
	seen := len(items) > 0 && w.seen(items)
	switch {
	case page.Next == "" && w.doubted && seen: // nothing new, and again no cursor
		if w.ended = true; w.whole && w.items < w.total {
			return nil, ErrRepeated
		}
		return nil, nil
	case len(items) == 0 && (repeated || next == ""): // the page has only the cursor itself
		w.ended = true
		return nil, nil
	case repeated:
		return nil, &CursorError{Cursor: strings.Clone(next)}
	case seen:
		return nil, ErrRepeated
	}
	w.items, w.total = w.items+len(items), max(w.total, page.Total)
	if w.total > 0 && w.items > 2*w.total+slack {
		return nil, ErrTooLong
	}
	w.cursor, w.doubted = next, page.Next == ""
	return items, nil
}

// seen reports whether these items were a page before, and records them.
func (w *walk) seen(items []string) bool {
	var h maphash.Hash
	h.SetSeed(w.seed)
	for _, item := range items {
		_, _ = h.WriteString(item)
		_ = h.WriteByte(0)
	}
	sum := h.Sum64()
	seen := w.pages[sum]
	w.pages[sum] = true
	return seen
}

// withoutCursor drops empty items, and the cursor if the page begins with it.
func withoutCursor(items []string, cursor string) []string {
	items = slices.DeleteFunc(items, func(item string) bool { return item == "" })
	if len(items) > 0 && items[0] == cursor {
		items = items[1:]
	}
	return items
}
