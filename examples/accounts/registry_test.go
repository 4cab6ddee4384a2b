package accounts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/accounts"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// platform is a transport that serves many accounts. As on the real platform, only the token tells which account a call
// is for.
type platform map[string]*wechatusertest.Server

const fansPerAccount = 10

// newPlatform returns a platform with n accounts that have no followers in common.
func newPlatform(n int) platform {
	p := make(platform)
	for i := range n {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(),
			wechatusertest.WithAccount(appID(i), secret(i)))
		for k := range fansPerAccount {
			srv.AddUsers(wechatuser.UserInfo{OpenID: openID(i, k)})
		}
		p[srv.AppID] = srv
	}
	return p
}

func appID(i int) string     { return fmt.Sprintf("wxfa4e%012d", i) }
func secret(i int) string    { return fmt.Sprintf("%032d", i) }
func openID(i, k int) string { return wechatusertest.OpenID(i*fansPerAccount + k) }

func (p platform) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/cgi-bin/stable_token" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		var in struct{ AppID string }
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		return p[in.AppID].Transport().RoundTrip(r)
	}
	for _, srv := range p {
		if srv.AccessToken() == r.URL.Query().Get("access_token") {
			return srv.Transport().RoundTrip(r)
		}
	}
	return p[appID(0)].Transport().RoundTrip(r) // it rejects the token
}

// lookup finds the accounts of a platform, and counts its calls.
type lookup struct {
	n     int
	every time.Duration
	calls atomic.Int32
}

func (l *lookup) account(_ context.Context, id string) (accounts.Account, error) {
	l.calls.Add(1)
	for i := range l.n {
		if appID(i) == id {
			return accounts.Account{Secret: secret(i), Every: l.every}, nil
		}
	}
	return accounts.Account{}, errors.New("no such account")
}

// Followers of all accounts are read concurrently while tokens expire. A call with another account's token would not
// find them.
func TestTokensAreKeptApart(t *testing.T) {
	const n = 20
	p, l := newPlatform(n), &lookup{n: n}
	r := accounts.New(l.account, wechatuser.WithTransport(p),
		wechatuser.WithTokenStore(wechatuser.NewMemoryTokenStore()))
	read := func() {
		var wg sync.WaitGroup
		for i := range n {
			for k := range fansPerAccount {
				wg.Go(func() {
					c, err := r.Client(t.Context(), appID(i))
					if !assert.NoError(t, err) {
						return
					}
					user, err := c.GetUserInfo(t.Context(), openID(i, k))
					assert.NoError(t, err)
					assert.True(t, err == nil && user.Subscribed())
				})
			}
		}
		wg.Wait()
	}

	read()
	for i := 0; i < n; i += 2 {
		p[appID(i)].ExpireTokens()
	}
	read()

	assert.EqualValues(t, n, l.calls.Load(), "one lookup per account")
	for i := range n {
		assert.Equal(t, 1+(i+1)%2, p[appID(i)].Calls("/cgi-bin/stable_token"),
			"account %d: only expired tokens are refreshed", i)
		assert.GreaterOrEqual(t, p[appID(i)].Calls("/cgi-bin/user/info"), 2*fansPerAccount)
	}
}

func TestClientIsReusedUntilForgotten(t *testing.T) {
	r := accounts.New((&lookup{n: 2}).account)
	a, err := r.Client(t.Context(), appID(0))
	require.NoError(t, err)
	b, err := r.Client(t.Context(), appID(0))
	require.NoError(t, err)
	assert.Same(t, a, b)

	r.Forget(appID(0))
	b, err = r.Client(t.Context(), appID(0))
	require.NoError(t, err)
	assert.NotSame(t, a, b)
}

func TestUnknownAccount(t *testing.T) {
	l := &lookup{n: 1}
	r := accounts.New(l.account)
	for range 2 {
		_, err := r.Client(t.Context(), "wxNOBODY")
		assert.EqualError(t, err, "account wxNOBODY: no such account")
	}
	assert.EqualValues(t, 2, l.calls.Load(), "a failed lookup is not cached")
	_, err := r.Client(t.Context(), appID(0))
	assert.NoError(t, err)
}

// Only the caller of a failed lookup gets its error. All others share one client, those who waited and those who come
// later.
func TestFailedLookupConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lookups atomic.Int32
		r := accounts.New(func(context.Context, string) (accounts.Account, error) {
			time.Sleep(time.Second)
			if lookups.Add(1) == 1 {
				return accounts.Account{}, errors.New("the vault is sealed")
			}
			return accounts.Account{Secret: secret(0)}, nil
		})
		var (
			wg       sync.WaitGroup
			failed   atomic.Int32
			mu       sync.Mutex
			distinct = map[*wechatuser.Client]bool{}
		)
		for i := range 10 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond) // some during the first lookup, some after it
				c, err := r.Client(t.Context(), appID(0))
				if err != nil {
					failed.Add(1)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				distinct[c] = true
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, failed.Load())
		assert.Len(t, distinct, 1)
		assert.EqualValues(t, 2, lookups.Load())
	})
}

// The limiter of one account must not be appended to the options of another.
func TestOptionsAreNotShared(t *testing.T) {
	opts := make([]wechatuser.Option, 1, 2)
	opts[0] = wechatuser.WithTransport(newPlatform(1))
	r := accounts.New((&lookup{n: 1, every: time.Hour}).account, opts...)
	_, err := r.Client(t.Context(), appID(0))
	require.NoError(t, err)
	assert.Nil(t, opts[:2][1])
}

// A caller stops waiting for another caller's lookup when its own context is done.
func TestWaitingForALookupRespectsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := accounts.New(func(ctx context.Context, _ string) (accounts.Account, error) {
			<-ctx.Done()
			return accounts.Account{}, ctx.Err()
		})
		first, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, err := r.Client(first, appID(0))
			assert.ErrorIs(t, err, context.Canceled)
		}()
		synctest.Wait()
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := r.Client(short, appID(0))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		<-done
	})
}

func TestRateLimitIsPerAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newPlatform(2), &lookup{n: 2, every: 100 * time.Millisecond}
		r := accounts.New(l.account, wechatuser.WithTransport(p))
		start := time.Now()
		took := func(account, calls int) time.Duration {
			c, err := r.Client(t.Context(), appID(account))
			assert.NoError(t, err)
			var wg sync.WaitGroup
			for range calls {
				wg.Go(func() {
					_, err := c.GetTags(t.Context())
					assert.NoError(t, err)
				})
			}
			wg.Wait()
			return time.Since(start)
		}
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, 3900*time.Millisecond, took(0, 40)) })
		wg.Go(func() {
			assert.Equal(t, 200*time.Millisecond, took(1, 3), "it does not wait for the other account's calls")
		})
		wg.Wait()
	})
}

// Example runs a job over all accounts.
func Example() {
	p, known := newPlatform(3), &lookup{n: 3, every: time.Millisecond}
	r := accounts.New(known.account, wechatuser.WithTransport(p))
	ctx := context.Background()
	for i := range 3 {
		c, err := r.Client(ctx, appID(i))
		if err != nil {
			fmt.Println(err)
			continue
		}
		page, err := c.GetFans(ctx, "")
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(c.AppID(), page.Total)
	}
	// Output:
	// wxfa4e000000000000 10
	// wxfa4e000000000001 10
	// wxfa4e000000000002 10
}
