package wechatusertest_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestOpenID(t *testing.T) {
	t.Parallel()
	const n = 10_000
	form := regexp.MustCompile(`^oFAKE[A-Za-z0-9_-]{23}$`)
	seen := make(map[string]bool, n)
	for i := range n {
		own, foreign := wechatusertest.OpenID(i), wechatusertest.ForeignOpenID(i)
		assert.Regexp(t, form, own, "it looks like a real openid")
		assert.Len(t, foreign, 28)
		seen[own], seen[foreign] = true, true
	}
	assert.Len(t, seen, 2*n, "all openids differ")
	assert.Equal(t, "oFAKEaV626vYi_00000000000042", wechatusertest.OpenID(42), "the same in all versions")
	assert.False(t, slices.IsSorted(ids(10)), "the order of the list is not alphabetical")
}
