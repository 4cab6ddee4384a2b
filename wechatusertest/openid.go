package wechatusertest

import (
	"fmt"
	"strings"
)

const (
	ownPrefix     = "oFAKEa"
	foreignPrefix = "oFAKEz"
)

// OpenID returns the i-th synthetic openid, such as "oFAKEaV626vYi_00000000000042". It always returns the same openid
// for the same i. Like a real openid, it has 28 characters of [A-Za-z0-9_-]. The alphabetical order of openids differs
// from the order of i.
//
// [WithFans](n) adds OpenID(0) to OpenID(n-1).
func OpenID(i int) string { return string(appendOpenID(nil, ownPrefix, i)) }

// ForeignOpenID returns the i-th synthetic openid of another account. No server knows it. Calls for tags and the
// blacklist reject it with 49003 rather than 40003.
func ForeignOpenID(i int) string { return string(appendOpenID(nil, foreignPrefix, i)) }

func appendOpenID(dst []byte, prefix string, i int) []byte {
	dst = append(dst, prefix...)
	// Mix the bits with the finalizer of splitmix64.
	x := uint64(i) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	for x ^= x >> 31; len(dst)%openIDLen < len(ownPrefix)+7; x >>= 6 {
		dst = append(dst, tokenAlphabet[x&63])
	}
	return fmt.Appendf(dst, "_%014d", i)
}

// openIDLen is the length of a synthetic openid, for numbers of up to 14 digits.
const openIDLen = 28

// tokenAlphabet holds the characters of openids and access tokens.
const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// isForeign reports whether an openid that this account does not know is known to be another account's.
func (s *Server) isForeign(openID string) bool {
	_, migrated := s.cfg.migration[openID]
	return migrated || strings.HasPrefix(openID, foreignPrefix)
}
