package wechatusertest

import (
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"time"
)

// maxAsked is how many different requests are counted before it begins anew.
const maxAsked = 100_000

// dice decide what happens to a call at random. They belong to what the call asks, and not to the order of calls.
type dice struct{ seed, call uint64 }

// diceFor counts how often the same was asked, so that a repeated call has other dice. The lock is held.
func (s *Server) diceFor(c *call) dice {
	h := fnv.New64a()
	_, _ = io.WriteString(h, c.path) // a hash never fails
	query := maps.Clone(c.query)
	query.Del("access_token") // a repeated call may have another one
	_, _ = io.WriteString(h, "?"+query.Encode()+"\n")
	_, _ = h.Write(c.body)
	key := h.Sum64()
	if s.asked == nil || len(s.asked) >= maxAsked {
		s.asked = make(map[uint64]uint64)
	}
	s.asked[key]++
	return dice{seed: s.cfg.seed, call: key + s.asked[key]*0x9e3779b97f4a7c15}
}

// about are the random numbers of one question about the call.
func (d dice) about(question string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, question)
	return rand.New(rand.NewPCG(d.seed^h.Sum64(), d.call))
}

func (d dice) chance(question string, probability float64) bool {
	return probability > 0 && (probability >= 1 || d.about(question).Float64() < probability)
}

// duration is from 0 up to limit.
func (d dice) duration(question string, limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(d.about(question).Int64N(int64(limit)))
}
