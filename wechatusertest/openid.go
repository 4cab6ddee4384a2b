package wechatusertest

import (
	"fmt"
	"strings"
)

const (
	ownPrefix     = "oFAKEa"
	foreignPrefix = "oFAKEz"
)

// OpenID is the i-th synthetic openid, such as "oFAKEaV626vYi_00000000000042": the same at each call, and 28 characters
// of [A-Za-z0-9_-] as real ones are. Sorting them does not sort the numbers.
//
// [WithFans](n) adds OpenID(0) to OpenID(n-1).
func OpenID(i int) string { return string(appendOpenID(nil, ownPrefix, i)) }

// ForeignOpenID is the i-th synthetic openid of another account: no server knows it, and calls for tags and the
// blacklist refuse it with 49003 rather than 40003.
func ForeignOpenID(i int) string { return string(appendOpenID(nil, foreignPrefix, i)) }

func appendOpenID(dst []byte, prefix string, i int) []byte {
	dst = append(dst, prefix...)
	// The finalizer of splitmix64 spreads the numbers.
	x := uint64(i) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	for x ^= x >> 31; len(dst)%openIDLen < len(ownPrefix)+7; x >>= 6 {
		dst = append(dst, tokenAlphabet[x&63])
	}
	return fmt.Appendf(dst, "_%014d", i)
}

// openIDLen is how long the openids made here are, for numbers of up to 14 digits.
const openIDLen = 28

// tokenAlphabet is what openids and access tokens are made of.
const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// isForeign reports whether an openid that is no user of this account is known to be another account's.
func (s *Server) isForeign(openID string) bool {
	_, migrated := s.cfg.migration[openID]
	return migrated || strings.HasPrefix(openID, foreignPrefix)
}
