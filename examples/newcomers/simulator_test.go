package newcomers_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/newcomers"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestNewcomersAreTagged(t *testing.T) {
	srv := wechatusertest.NewServer()
	defer srv.Close()
	srv.Follow("oFAKEold")
	srv.Advance(24 * time.Hour)
	srv.Follow("oFAKEnew")
	srv.Advance(24 * time.Hour)
	srv.Follow("oFAKEtoday")
	before := srv.Snapshot()

	res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

	require.NoError(t, err)
	assert.Equal(t, newcomers.Result{Tagged: 1}, res)
	assert.Equal(t, `+ tag 100 "new": 1 fan
~ user oFAKEnew: tagid_list [], then [100]
~ next tag id: 100, then 101
`, before.Diff(srv.Snapshot()), "nothing else has changed")
}

// This error needs no setup of a response: the simulator, like the platform, allows 20 tags per follower.
func TestRejectedOpenIDsAreReported(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1_000))
	defer srv.Close()
	for name := 'a'; name < 'a'+20; name++ {
		srv.AddTag(string(name), wechatusertest.OpenID(7))
	}
	srv.Advance(24 * time.Hour)

	res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

	require.NoError(t, err)
	assert.Equal(t, 999, res.Tagged)
	require.Len(t, res.Refused, 1)
	assert.Equal(t, wechatusertest.OpenID(7), res.Refused[0].OpenID)
	assert.ErrorIs(t, res.Refused[0].Err, wechatuser.CodeTooManyTagsOnUser)
}

// A change to the job should not increase the number of calls unnoticed.
func TestNumberOfCalls(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1_000))
	defer srv.Close()
	srv.Advance(24 * time.Hour)

	_, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

	require.NoError(t, err)
	assert.Equal(t, 2, srv.Calls("/cgi-bin/user/get"), "one page and the end")
	assert.Equal(t, 10, srv.Calls("/cgi-bin/user/info/batchget"))
	requests := srv.Requests("/cgi-bin/tags/members/batchtagging")
	assert.Len(t, requests, 20)
	for _, r := range requests {
		assert.Len(t, r.Body["openid_list"], 50)
	}
}

// The platform has quirks, and lists have many pages. The same seed reproduces the same quirks.
func TestBadDays(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { // delays between attempts take no time
			srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(500),
				wechatusertest.WithPageSize(30), wechatusertest.WithQuirks(wechatusertest.Wild(seed)))
			srv.Advance(24 * time.Hour)

			res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

			require.NoError(t, err, "seed %d", seed)
			assert.Equal(t, newcomers.Result{Tagged: 500}, res, "seed %d", seed)
		})
	}
}

// The account comes from a file, in the format of srv.Save and the sandbox.
func TestAccountFromFile(t *testing.T) {
	srv := wechatusertest.NewServer()
	defer srv.Close()
	require.NoError(t, srv.Load(strings.NewReader(`{"tags":[
		{"id":100,"name":"new"}
	],"users":[
		{"openid":"oFAKE1","subscribe_time":1773115200,"tagid_list":[100]},
		{"openid":"oFAKE2","subscribe_time":1773115200,"left":true}
	]}`)))
	now := time.Unix(1773115200, 0).AddDate(0, 0, 1)

	res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), now)

	require.NoError(t, err)
	assert.Equal(t, newcomers.Result{Tagged: 1}, res, "tagged again, which does no harm")
}
