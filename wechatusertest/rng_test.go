package wechatusertest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Random decisions depend on the seed and on the call, not on the order of calls or on the token.
func TestRandomDecisionsDependOnSeedAndCall(t *testing.T) {
	t.Parallel()
	failed := func(seed uint64, order []int, refresh bool) []int {
		a := newQuirky(t, wechatusertest.Quirks{Seed: seed, SystemBusy: 0.3}, wechatusertest.WithFans(200))
		var calls []int
		for _, i := range order {
			if refresh {
				a.ExpireTokens()
			}
			if strings.Contains(a.get("/cgi-bin/user/info", "openid", wechatusertest.OpenID(i)), "errcode") {
				calls = append(calls, i)
			}
		}
		slices.Sort(calls)
		return calls
	}
	order := make([]int, 200)
	for i := range order {
		order[i] = i
	}
	first := failed(1, order, false)
	assert.InDelta(t, 60, len(first), 30)
	assert.NotEqual(t, first, failed(2, order, false))
	slices.Reverse(order)
	assert.Equal(t, first, failed(1, order, true), "in reverse order and with other tokens")

	a := newQuirky(t, wechatusertest.Quirks{SystemBusy: 0.5})
	busy := 0
	for range 100 {
		if strings.Contains(a.get("/cgi-bin/tags/get"), "errcode") {
			busy++
		}
	}
	assert.InDelta(t, 50, busy, 30, "identical calls differ")
}
