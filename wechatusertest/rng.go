package wechatusertest

import (
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"time"
)

// maxCallCounts is how many different calls are counted. After that, counting starts over.
const maxCallCounts = 100_000

// rng makes the random decisions about one call. They depend on the content of the call, not on the order of calls.
type rng struct{ seed, call uint64 }

// rngFor returns the rng of a call. It counts identical calls, so that a retry gets different numbers. s.mu is held.
func (s *Server) rngFor(c *call) rng {
	h := fnv.New64a()
	_, _ = io.WriteString(h, c.path) // a hash never fails
	query := maps.Clone(c.query)
	query.Del("access_token") // a retry may have another one
	_, _ = io.WriteString(h, "?"+query.Encode()+"\n")
	_, _ = h.Write(c.body)
	return s.rngOf(h.Sum64())
}

// rngOf returns the rng of the next call, or push, whose content has this hash. s.mu is held.
func (s *Server) rngOf(key uint64) rng {
	if s.callCounts == nil || len(s.callCounts) >= maxCallCounts {
		s.callCounts = make(map[uint64]uint64)
	}
	s.callCounts[key]++
	return rng{seed: s.cfg.seed, call: key + s.callCounts[key]*0x9e3779b97f4a7c15}
}

// stream returns the random numbers for one decision about the call.
func (r rng) stream(decision string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, decision)
	return rand.New(rand.NewPCG(r.seed^h.Sum64(), r.call))
}

func (r rng) chance(decision string, probability float64) bool {
	return probability > 0 && (probability >= 1 || r.stream(decision).Float64() < probability)
}

// duration returns a random duration from 0 up to limit.
func (r rng) duration(decision string, limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(r.stream(decision).Int64N(int64(limit)))
}

// newRand returns random numbers that are seeded with the account, so that each run of a test gets the same tokens and
// rids.
func newRand(appID, secret string) *rand.Rand {
	h := fnv.New128a()
	_, _ = h.Write([]byte(appID + "\n" + secret)) // a hash never fails
	var sum [16]byte
	h.Sum(sum[:0])
	return rand.New(rand.NewChaCha8([32]byte(append(sum[:], sum[:]...))))
}

// randomText returns n random characters out of the first few of tokenAlphabet.
func (s *Server) randomText(n, alphabet int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = tokenAlphabet[s.rand.IntN(alphabet)]
	}
	return string(b)
}

func hashOf(text string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text) // a hash never fails
	return h.Sum64()
}
