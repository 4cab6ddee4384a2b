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

// paths are those of all calls that the job makes.
var paths = []string{
	"/cgi-bin/stable_token", "/cgi-bin/tags/get", "/cgi-bin/tags/create", "/cgi-bin/user/get",
	"/cgi-bin/user/info/batchget", "/cgi-bin/tags/members/batchtagging",
}

// newAccount has 90 newcomers, on two pages.
func newAccount(opts ...wechatusertest.Option) *wechatusertest.Server {
	srv := wechatusertest.NewServer(append(opts,
		wechatusertest.WithoutListener(), wechatusertest.WithFans(90), wechatusertest.WithPageSize(60))...)
	srv.Advance(24 * time.Hour)
	return srv
}

// Whatever goes wrong once, with whatever call: the night ends as if nothing had.
func TestAnyFaultOnce(t *testing.T) {
	faults := []wechatusertest.Fault{
		{Kind: wechatusertest.FaultErrcode, Code: wechatuser.CodeSystemBusy},
		{Kind: wechatusertest.FaultHTTP, Status: 502, Body: "<html>Bad Gateway</html>"},
		{Kind: wechatusertest.FaultDropRequest},
		{Kind: wechatusertest.FaultDropAnswer}, // carried out, and the client does not know
		{Kind: wechatusertest.FaultCutBody},
		{Kind: wechatusertest.FaultGarbage},
		{Kind: wechatusertest.FaultDelay, Delay: time.Minute}, // longer than an attempt may take
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
					assert.Len(t, srv.Tags(), 1, "one tag, though its creation may have been repeated")
					assert.Len(t, srv.TagFans(100), 90)
					assert.Empty(t, srv.Faults(), "the fault was met")
				})
			})
		}
	}
}

// The platform is gone in the middle of the night: there is an error, and the second run does what is left.
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

// Another program has renewed the token: nobody notices, and it costs one renewal.
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

// The platform tags all but one of a call (45171), each time that it is asked.
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

// Somebody leaves when the profiles have been read.
func TestWhoLeavesMeanwhile(t *testing.T) {
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

// The platform lists somebody, and refuses the profile.
func TestWhoHasNoProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAccount()
		srv.FailNext("/cgi-bin/user/info/batchget", wechatuser.CodeInvalidOpenID, 1_000)

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

		require.NoError(t, err)
		assert.Len(t, res.Refused, 90)
	})
}
