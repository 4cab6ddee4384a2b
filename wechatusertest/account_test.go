package wechatusertest_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// A million followers, half of them with a tag, take less than 1 GB. By default, a tenth of them is measured.
func TestMemoryOfAMillionFans(t *testing.T) {
	fans := atFullSize(1_000_000, 100_000)
	a := newAccount(t, wechatusertest.WithFans(fans))
	a.AddTag("vip", a.OpenIDs()[fans/2:]...)
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%d MiB on the heap", mem.HeapAlloc>>20)
	assert.Less(t, mem.HeapAlloc, uint64(fans)*1_000)
	assert.Contains(t, a.get("/cgi-bin/user/get", "next_openid", wechatusertest.OpenID(fans/10*9-1)),
		fmt.Sprintf(`{"total":%d,"count":10000,`, fans))
	runtime.KeepAlive(a)
}
