package wechatusertest

import (
	"math/bits"
	"slices"
)

// bitset is a set of small numbers. Iterating over a million of them takes microseconds from any start.
type bitset struct {
	words []uint64
	n     int // number of members
}

func (b *bitset) has(i int) bool {
	return i/64 < len(b.words) && b.words[i/64]&(1<<(i%64)) != 0
}

func (b *bitset) add(i int) {
	if b.has(i) {
		return
	}
	for i/64 >= len(b.words) {
		b.words = append(b.words, 0)
	}
	b.words[i/64] |= 1 << (i % 64)
	b.n++
}

func (b *bitset) remove(i int) {
	if b.has(i) {
		b.words[i/64] &^= 1 << (i % 64)
		b.n--
	}
}

// appendFrom appends up to limit members to dst, in ascending order, beginning at start.
func (b *bitset) appendFrom(dst []int, start, limit int) []int {
	limit += len(dst)
	for w := start / 64; w < len(b.words); w++ {
		word := b.words[w]
		if w == start/64 {
			word &= ^uint64(0) << (start % 64)
		}
		for ; word != 0; word &= word - 1 {
			if len(dst) == limit {
				return dst
			}
			dst = append(dst, w*64+bits.TrailingZeros64(word))
		}
	}
	return dst
}

// all returns the members in ascending order.
func (b *bitset) all() []int { return b.appendFrom(make([]int, 0, b.n), 0, b.n) }

func (b *bitset) clone() bitset { return bitset{words: slices.Clone(b.words), n: b.n} }
