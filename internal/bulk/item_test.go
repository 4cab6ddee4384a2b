package bulk

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRemainingAreThoseThatTheCallNames(t *testing.T) {
	for name, tt := range map[string]struct{ failed, want []string }{
		"some, in the order of the items": {[]string{"d", "b"}, []string{"b", "d"}},
		"all":                             {[]string{"a", "b", "c", "d"}, []string{"a", "b", "c", "d"}},
		"none":                            {nil, nil},
		"one twice":                       {[]string{"b", "b"}, []string{"b"}},
		"strangers too":                   {[]string{"x", "c", ""}, []string{"c"}},
		"strangers alone":                 {[]string{"x"}, nil},
	} {
		var items []*Item[int]
		for _, id := range []string{"a", "b", "c", "d"} {
			items = append(items, &Item[int]{ID: id})
		}
		var got []string
		for _, item := range remaining(items, tt.failed) {
			got = append(got, item.ID)
		}
		assert.Equal(t, tt.want, got, name)
		for _, item := range items {
			want := Done
			for _, id := range tt.want {
				if id == item.ID {
					want = Pending
				}
			}
			assert.Equal(t, want, item.Status, "%s: %s", name, item.ID)
			assert.NoError(t, item.Err)
		}
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
