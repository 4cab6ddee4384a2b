package wechatusertest

import (
	"math/bits"
	"slices"
)

// bitset is a set of small numbers. Walking a million of them takes some microseconds, wherever it starts.
type bitset struct {
	words []uint64
	n     int // members
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

// from appends to dst the members from start on, in ascending order, up to limit of them.
func (b *bitset) from(dst []int, start, limit int) []int {
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

// all is the members in ascending order.
func (b *bitset) all() []int { return b.from(make([]int, 0, b.n), 0, b.n) }

func (b *bitset) clone() bitset { return bitset{words: slices.Clone(b.words), n: b.n} }
