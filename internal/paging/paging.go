// Package paging walks lists that come in pages.
package paging

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Fetch returns the page after a cursor, and the cursor of the next page. An empty cursor is the beginning and the end
// of the list.
type Fetch func(ctx context.Context, cursor string) (items []string, next string, err error)

// CursorError means that a list returned a cursor twice, so that it would never end.
type CursorError struct {
	Cursor string
}

func (e *CursorError) Error() string {
	return fmt.Sprintf("the list returned the cursor %q twice, so it would never end", e.Cursor)
}

// Walk returns the pages of a list, from the page after cursor on. The list ends with an empty page or an empty cursor,
// and nothing else: the totals of the platform can be wrong, and the last page has a cursor like all others.
//
// Empty items are dropped, and so is the cursor where a page begins with it. Pages without any item left are skipped.
// The slices of Fetch are changed.
//
// The first error, of Fetch or a [*CursorError], ends the walk.
func Walk(ctx context.Context, cursor string, fetch Fetch) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		cursor, used := cursor, make(map[string]bool)
		for {
			page, next, err := fetch(ctx, cursor)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) == 0 {
				return
			}
			used[strings.Clone(cursor)] = true // a cursor that is kept should not keep its page in memory
			repeated := next != "" && used[next]
			switch items := withoutCursor(page, cursor); {
			case len(items) == 0 && repeated:
				return // nothing after the cursor but the cursor itself
			case repeated:
				yield(nil, &CursorError{Cursor: next})
				return
			case len(items) > 0 && !yield(items, nil):
				return
			}
			if next == "" {
				return
			}
			cursor = next
		}
	}
}

// withoutCursor drops empty items, and the cursor where the page begins with it.
func withoutCursor(items []string, cursor string) []string {
	items = slices.DeleteFunc(items, func(item string) bool { return item == "" })
	if len(items) > 0 && items[0] == cursor {
		items = items[1:]
	}
	return items
}
