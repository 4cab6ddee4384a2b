package wechatusertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// An unknown path is a mistake in the test, which must not go unnoticed.
func TestUnknownPathPanics(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const path = "/cgi-bin/user/gets"
	for name, call := range map[string]func(){
		"FailNext":     func() { a.FailNext(path, wechatuser.CodeSystemBusy, 1) },
		"FailNextHTTP": func() { a.FailNextHTTP(path, 502, "", 0) },
		"DropRequests": func() { a.DropRequests(path, 1) },
		"DropAnswers":  func() { a.DropAnswers(path, 1) },
		"Delay":        func() { a.Delay(path, time.Second) },
		"Calls":        func() { a.Calls(path) },
		"Requests":     func() { a.Requests("*", path) },
		"Fault":        func() { a.Fault(wechatusertest.Fault{Path: path, Kind: wechatusertest.FaultDropAnswer}) },
		"WithQuota":    func() { newAccount(t, wechatusertest.WithQuota(path, 1, 1)) },
	} {
		assert.PanicsWithValue(t, "wechatusertest: "+name+
			`: no API has the path "/cgi-bin/user/gets"; the nearest one is "/cgi-bin/user/get"`, call)
	}
	assert.Zero(t, a.Calls("*"), "the lock was released")
}

// The official name of an API is accepted in place of its path.
func TestOfficialNamesArePaths(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/tags/get"
	a := newAccount(t, wechatusertest.WithQuota("getTags", 5, 0))
	a.FailNext("getTags", wechatuser.CodeSystemBusy, 2)
	assertCode(t, -1, a.get(path))
	assert.Equal(t, path, a.Faults()[0].Path)
	a.FailNext(path, wechatuser.CodeSystemBusy, 0)
	assert.Empty(t, a.Faults())
	a.Fault(wechatusertest.Fault{Path: "getTags", Kind: wechatusertest.FaultErrcode, Code: -1})
	assertCode(t, -1, a.get(path))
	a.FailNext("getTags", wechatuser.CodeSystemBusy, 0)
	assert.Empty(t, a.Faults())
	assert.NotContains(t, a.get(path), "errcode")
	assert.Equal(t, 3, a.Calls("getTags"))
	assert.Equal(t, a.Requests(path), a.Requests("getTags"))
	assert.Len(t, a.Requests("userInfo", "getTags"), 3)
	assert.Equal(t, 5, a.quotaOf("getTags").PerDay)
	for _, q := range a.Quotas() {
		assert.Equal(t, a.Calls(q.Path), a.Calls(q.API))
	}

	assert.PanicsWithValue(t,
		`wechatusertest: Calls: no API has the name "batchtagging"; the nearest one is "batchTagging"`,
		func() { a.Calls("batchtagging") })
	synctest.Test(t, func(t *testing.T) {
		a := account{wechatusertest.NewServer(wechatusertest.WithoutListener()), t}
		a.Delay("getTags", time.Hour)
		begin := time.Now()
		a.get(path)
		assert.Equal(t, time.Hour, time.Since(begin))
	})
}
