package bulk

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNamed(t *testing.T) {
	for name, tt := range map[string]struct{ ids, named, others []string }{
		"some, in the order of the items": {[]string{"d", "b"}, []string{"b", "d"}, []string{"a", "c"}},
		"all":                             {[]string{"a", "b", "c", "d"}, []string{"a", "b", "c", "d"}, nil},
		"none":                            {nil, nil, []string{"a", "b", "c", "d"}},
		"one twice":                       {[]string{"b", "b"}, []string{"b"}, []string{"a", "c", "d"}},
		"strangers too":                   {[]string{"x", "c", ""}, []string{"c"}, []string{"a", "b", "d"}},
		"strangers alone":                 {[]string{"x"}, nil, []string{"a", "b", "c", "d"}},
	} {
		var items []*Item[int]
		for _, id := range []string{"a", "b", "c", "d"} {
			items = append(items, &Item[int]{ID: id})
		}
		idsOf := func(items []*Item[int]) (ids []string) {
			for _, item := range items {
				ids = append(ids, item.ID)
			}
			return ids
		}
		failed, others := named(items, tt.ids)
		assert.Equal(t, tt.named, idsOf(failed), name)
		assert.Equal(t, tt.others, idsOf(others), name)
	}
}

func TestZeroItemIsPending(t *testing.T) {
	assert.Equal(t, Pending, new(Item[int]).Status)
}

func TestZeroVerdictStops(t *testing.T) {
	assert.Equal(t, Stop, Verdict{}.Action)
	assert.Equal(t, Stop, Verdict{Action: Retry}.Exhausted)
}

func TestSetStatus(t *testing.T) {
	broken := errors.New("broken")
	a, b := &Item[int]{ID: "a"}, &Item[int]{ID: "b", MayBeApplied: true}
	setStatus([]*Item[int]{a, b}, Unknown, broken)
	assert.Equal(t, Item[int]{ID: "a", Status: Unknown, Err: broken}, *a)
	assert.Equal(t, Item[int]{ID: "b", Status: Unknown, Err: broken, MayBeApplied: true}, *b)
}
