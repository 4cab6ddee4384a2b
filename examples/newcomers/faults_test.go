package newcomers_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/newcomers"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// paths are the paths of all requests of the job.
var paths = []string{
	"/cgi-bin/stable_token", "/cgi-bin/tags/get", "/cgi-bin/tags/create", "/cgi-bin/user/get",
	"/cgi-bin/user/info/batchget", "/cgi-bin/tags/members/batchtagging",
}

// newAccount returns an account with 90 newcomers on two pages.
func newAccount(opts ...wechatusertest.Option) *wechatusertest.Server {
	srv := wechatusertest.NewServer(append(opts,
		wechatusertest.WithoutListener(), wechatusertest.WithFans(90), wechatusertest.WithPageSize(60))...)
	srv.Advance(24 * time.Hour)
	return srv
}

// A single fault in any call does not change the result.
func TestAnyFaultOnce(t *testing.T) {
	faults := []wechatusertest.Fault{
		{Kind: wechatusertest.FaultErrcode, Code: wechatuser.CodeSystemBusy},
		{Kind: wechatusertest.FaultHTTP, Status: 502, Body: "<html>Bad Gateway</html>"},
		{Kind: wechatusertest.FaultDropRequest},
		{Kind: wechatusertest.FaultDropAnswer}, // carried out, but the client gets no response
		{Kind: wechatusertest.FaultCutBody},
		{Kind: wechatusertest.FaultGarbage},
		{Kind: wechatusertest.FaultDelay, Delay: time.Minute}, // longer than the timeout of an attempt
	}
	for _, path := range paths {
		for _, fault := range faults {
			fault.Path, fault.Times = path, 1
			t.Run(fmt.Sprint(fault), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := newAccount()
					srv.Fault(fault)

					res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

					require.NoError(t, err)
					assert.Equal(t, newcomers.Result{Tagged: 90}, res)
					assert.Len(t, srv.Tags(), 1, "one tag, even if its creation was retried")
					assert.Len(t, srv.TagFans(100), 90)
					assert.Empty(t, srv.Faults(), "the fault occurred")
				})
			})
		}
	}
}

// During an outage the job returns an error, and the next run does the rest.
func TestOutage(t *testing.T) {
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newAccount()
				job := newcomers.Job{Account: srv.Client(), Tag: "new"}
				srv.Fault(wechatusertest.Fault{Path: path, Kind: wechatusertest.FaultHTTP, Status: 503})

				res, err := job.Run(t.Context(), srv.Now())

				require.ErrorIs(t, err, wechatuser.ErrTemporary)
				assert.Zero(t, res.Tagged)

				srv.ClearFaults()
				res, err = job.Run(t.Context(), srv.Now())

				require.NoError(t, err)
				assert.Equal(t, newcomers.Result{Tagged: 90}, res)
			})
		})
	}
}

// A token that another program has invalidated is refreshed once, without an error.
func TestRevokedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAccount()
		c := srv.Client()
		_, err := c.Token(t.Context())
		require.NoError(t, err)
		srv.ExpireTokens()

		_, err = newcomers.Job{Account: c, Tag: "new"}.Run(t.Context(), srv.Now())

		require.NoError(t, err)
		assert.Equal(t, 2, srv.Calls("/cgi-bin/stable_token"))
	})
}

// The platform tags all but one openid of a call (45171), in each attempt.
func TestPartialFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAccount()
		srv.FailOpenIDs(100, wechatusertest.OpenID(7))

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

		require.NoError(t, err)
		assert.Equal(t, 89, res.Tagged)
		require.Len(t, res.Refused, 1)
		assert.ErrorIs(t, res.Refused[0].Err, wechatuser.CodeSomeOpenIDsFailed)
	})
}

// A user unfollows after the profiles were read.
func TestUnfollowDuringRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv *wechatusertest.Server
		srv = newAccount(wechatusertest.WithRequestHook(func(r wechatusertest.Request) {
			if r.API == "batchUserinfo" {
				srv.Unfollow(wechatusertest.OpenID(7))
			}
		}))

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

		require.NoError(t, err)
		assert.Equal(t, 89, res.Tagged)
		require.Len(t, res.Refused, 1)
		assert.ErrorIs(t, res.Refused[0].Err, wechatuser.ErrNotFollowing)
	})
}

// The platform lists the followers but rejects their profiles.
func TestProfilesAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAccount()
		srv.FailNext("/cgi-bin/user/info/batchget", wechatuser.CodeInvalidOpenID, 1_000)

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

		require.NoError(t, err)
		assert.Len(t, res.Refused, 90)
	})
}
