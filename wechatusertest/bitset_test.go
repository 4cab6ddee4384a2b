package wechatusertest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The set behaves like a map.
func TestBitset(t *testing.T) {
	t.Parallel()
	const size = 300
	r := rand.New(rand.NewPCG(1, 2))
	var set bitset
	want := map[int]bool{}
	for range 2000 {
		i := r.IntN(size)
		if r.IntN(2) == 0 {
			set.add(i)
			want[i] = true
		} else {
			set.remove(i)
			delete(want, i)
		}
		assert.Equal(t, want[i], set.has(i))
		assert.Equal(t, len(want), set.n)
	}
	var all []int
	for i := range size {
		if want[i] {
			all = append(all, i)
		}
	}
	assert.Equal(t, all, set.all())
	assert.False(t, set.has(10*size))
	for start := range size + 100 {
		for _, limit := range []int{0, 1, 7, size} {
			from, _ := slices.BinarySearch(all, start)
			rest := all[from:]
			rest = rest[:min(limit, len(rest))]
			got := set.appendFrom([]int{-1}, start, limit)
			assert.Equal(t, append([]int{-1}, rest...), got)
		}
	}
}
