package paging

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// page is what a list returns for a call.
type page struct {
	total int
	next  string
	items []string
	err   error
}

// list returns its pages one by one, the last of them for ever, and records the cursors that it is asked for.
type list struct {
	pages   []page
	cursors []string
}

func (l *list) fetch(_ context.Context, cursor string) (Page, error) {
	p := l.pages[min(len(l.cursors), len(l.pages)-1)]
	l.cursors = append(l.cursors, cursor)
	return Page{Items: slices.Clone(p.items), Next: p.next, Total: p.total}, p.err
}

func to(next string, items ...string) page { return page{next: next, items: items} }

func TestWalkFollowsTheCursors(t *testing.T) {
	end := to("")
	for name, tt := range map[string]struct {
		cursor  string
		pages   []page
		want    [][]string
		cursors []string
	}{
		"empty list": {pages: []page{end}, cursors: []string{""}},
		"an empty page ends it": {
			pages: []page{to("b", "a", "b"), to("c", "c"), end},
			want:  [][]string{{"a", "b"}, {"c"}}, cursors: []string{"", "b", "c"},
		},
		"an empty cursor does not end it": {
			pages: []page{to("b", "a", "b"), to("", "c", "d", ""), to("e", "e"), end},
			want:  [][]string{{"a", "b"}, {"c", "d"}, {"e"}}, cursors: []string{"", "b", "d", "e"},
		},
		"no page has a cursor": {
			pages: []page{to("", "a", "b"), to("", "c"), end},
			want:  [][]string{{"a", "b"}, {"c"}}, cursors: []string{"", "b", "c"},
		},
		"no page has a cursor, and each begins with it": {
			pages: []page{to("", "a", "b"), to("", "b", "c"), to("", "c")},
			want:  [][]string{{"a", "b"}, {"c"}}, cursors: []string{"", "b", "c"},
		},
		"a list that knows no cursors": {
			pages: []page{to("", "a", "b")},
			want:  [][]string{{"a", "b"}}, cursors: []string{"", "b"},
		},
		"an empty page with a cursor ends it": {
			pages: []page{to("b", "a", "b"), to("c"), to("d", "d")},
			want:  [][]string{{"a", "b"}}, cursors: []string{"", "b"},
		},
		"it begins after a cursor": {
			cursor: "b", pages: []page{to("c", "c"), end},
			want: [][]string{{"c"}}, cursors: []string{"b", "c"},
		},
		"empty items are dropped": {
			pages: []page{to("b", "", "a", "", "b", ""), end},
			want:  [][]string{{"a", "b"}}, cursors: []string{"", "b"},
		},
		"a page of empty items does not end it": {
			pages: []page{to("a", "", ""), to("b", "b"), end},
			want:  [][]string{{"b"}}, cursors: []string{"", "a", "b"},
		},
		"a page of empty items with an empty cursor ends it": {
			pages: []page{to("", "", ""), to("b", "b")}, cursors: []string{""},
		},
		"the cursor begins the next page": {
			pages: []page{to("b", "a", "b"), to("c", "b", "c"), end},
			want:  [][]string{{"a", "b"}, {"c"}}, cursors: []string{"", "b", "c"},
		},
		"the cursor begins the next page, after an empty item": {
			pages: []page{to("b", "a", "b"), to("c", "", "b", "c"), end},
			want:  [][]string{{"a", "b"}, {"c"}}, cursors: []string{"", "b", "c"},
		},
		"the cursor elsewhere in the page is an item": {
			pages: []page{to("b", "a", "b"), to("d", "c", "b", "d"), end},
			want:  [][]string{{"a", "b"}, {"c", "b", "d"}}, cursors: []string{"", "b", "d"},
		},
		"the last page has the cursor alone, again": {
			pages: []page{to("b", "a", "b"), to("c", "b", "c"), to("c", "c")},
			want:  [][]string{{"a", "b"}, {"c"}}, cursors: []string{"", "b", "c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := &list{pages: tt.pages}
			walk := Walk(t.Context(), tt.cursor, l.fetch)
			assert.Empty(t, l.cursors, "nothing is fetched before the loop")
			for range 2 {
				l.cursors = nil
				got, errs := seq.Collect(walk)
				assert.Empty(t, errs)
				assert.Equal(t, tt.want, got)
				assert.Equal(t, tt.cursors, l.cursors, "each walk begins anew")
			}
		})
	}
}

func TestWalkEndsWhenACursorRepeats(t *testing.T) {
	same := to("b", "a", "b")
	for name, tt := range map[string]struct {
		cursor string
		pages  []page
		want   [][]string
		calls  int
	}{
		"the same page for ever": {"", []page{same}, [][]string{{"a", "b"}}, 2},
		"a circle": {
			"", []page{same, to("c", "c"), to("b", "b")}, [][]string{{"a", "b"}, {"c"}}, 3,
		},
		"the cursor that the walk began": {"b", []page{same}, nil, 1},
		"other items before it, no cursor": {
			"", []page{{items: []string{"a", "b"}}, {items: []string{"c", "b"}}}, [][]string{{"a", "b"}}, 2,
		},
	} {
		l := &list{pages: tt.pages}
		got, errs := seq.Collect(Walk(t.Context(), tt.cursor, l.fetch))
		assert.Equal(t, tt.want, got, name)
		require.Len(t, errs, 1, name)
		var repeated *CursorError
		require.ErrorAs(t, errs[0], &repeated, name)
		assert.Equal(t, "b", repeated.Cursor, name)
		assert.EqualError(t, repeated, `the list returned the cursor "b" twice, so it would never end`)
		assert.Len(t, l.cursors, tt.calls, name)
	}
}

// A page that repeats itself and has no cursor is the end, unless the list says that it is longer.
func TestWalkDoubtsTheEndBeforeTheTotal(t *testing.T) {
	for _, tt := range []struct {
		total  int
		cursor string
		errs   []error
	}{{0, "", nil}, {2, "", nil}, {1, "", nil}, {3, "", []error{ErrRepeated}}, {3, "before", nil}} {
		l := &list{pages: []page{{total: tt.total, items: []string{"a", "b"}}}}
		got, errs := seq.Collect(Walk(t.Context(), tt.cursor, l.fetch))
		assert.Equal(t, [][]string{{"a", "b"}}, got)
		assert.Equal(t, tt.errs, errs, "%+v", tt)
	}
}

// A page that states no total, or a smaller one, does not make the list end earlier.
func TestWalkRemembersTheLargestTotal(t *testing.T) {
	pages := []Page{
		{Items: []string{"a"}, Next: "a", Total: 5}, {Items: []string{"b", "c"}}, {Items: []string{"b", "c"}},
	}
	n := 0
	got, errs := seq.Collect(Walk(t.Context(), "", func(context.Context, string) (Page, error) {
		n++
		return pages[n-1], nil
	}))
	assert.Equal(t, [][]string{{"a"}, {"b", "c"}}, got)
	assert.Equal(t, []error{ErrRepeated}, errs)
}

// An endless list with ever new cursors shows itself by its pages, or by its length.
func TestWalkEndsAnEndlessList(t *testing.T) {
	a, b := []string{"a1", "a2"}, []string{"b1", "b2"}
	for name, pages := range map[string][][]string{
		"the same page for ever": {a, a},
		"two pages for ever":     {a, b, a},
		"later":                  {a, b, {"c"}, b},
	} {
		n := 0
		got, errs := seq.Collect(Walk(t.Context(), "", func(context.Context, string) (Page, error) {
			n++
			return Page{Items: slices.Clone(pages[n-1]), Next: fmt.Sprint("new", n)}, nil
		}))
		assert.Equal(t, pages[:len(pages)-1], got, name)
		assert.Equal(t, []error{ErrRepeated}, errs, name)
	}
	for total, limit := range map[int]int{0: 40_000, 1: 20_002, 7_000: 34_000} {
		n := 0
		got, errs := seq.Collect(Walk(t.Context(), "", func(context.Context, string) (Page, error) {
			if n++; n > 40_000 {
				return Page{}, nil
			}
			item := fmt.Sprint("item", n)
			return Page{Items: []string{item}, Next: item, Total: total}, nil
		}))
		assert.Len(t, got, limit, "total %d", total)
		if total == 0 {
			assert.Empty(t, errs, "a list without a total has no limit")
			continue
		}
		assert.Equal(t, []error{ErrTooLong}, errs)
	}
}

func TestWalkReturnsAnErrorOnce(t *testing.T) {
	broken := errors.New("broken")
	l := &list{pages: []page{to("b", "a", "b"), {items: []string{"c"}, next: "c", err: broken}}}
	got, errs := seq.Collect(Walk(t.Context(), "", l.fetch))
	assert.Equal(t, [][]string{{"a", "b"}}, got, "a page that comes with an error does not count")
	assert.Equal(t, []error{broken}, errs)
	assert.Equal(t, []string{"", "b"}, l.cursors)
}

func TestWalkStopsWithTheLoop(t *testing.T) {
	l := &list{pages: []page{to("b", "a", "b"), to("c", "c"), to("")}}
	for range Walk(t.Context(), "", l.fetch) {
		break
	}
	assert.Equal(t, []string{""}, l.cursors)
}

func TestWalkPassesItsContext(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "of the caller")
	_, errs := seq.Collect(Walk(ctx, "", func(ctx context.Context, _ string) (Page, error) {
		assert.Equal(t, "of the caller", ctx.Value(key{}))
		return Page{}, nil
	}))
	assert.Empty(t, errs)
}

// A cursor is a part of its page in memory. Walk keeps all cursors until the end, and none of the pages.
func TestWalkKeepsNoPages(t *testing.T) {
	var pages []weak.Pointer[byte]
	got, errs := seq.Collect(Walk(t.Context(), "", func(context.Context, string) (Page, error) {
		n := len(pages)
		if n > 1 {
			runtime.GC()
			assert.Nil(t, pages[n-2].Value(), "the page before the last one")
		}
		if n == 4 {
			return Page{}, nil
		}
		text := strings.Repeat("x", 1<<10+n)
		pages = append(pages, weak.Make(unsafe.StringData(text)))
		return Page{Items: []string{fmt.Sprint("item", n)}, Next: text[1<<9:]}, nil
	}))
	assert.Empty(t, errs)
	assert.Len(t, got, 4)
}
