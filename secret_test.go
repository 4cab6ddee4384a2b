package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// vault returns its secrets one after the other, and the last one from then on.
type vault struct {
	secrets []string
	asked   int
}

func (v *vault) secret(context.Context) (string, error) {
	v.asked++
	s := v.secrets[0]
	if len(v.secrets) > 1 {
		v.secrets = v.secrets[1:]
	}
	return s, nil
}

func vaultClient(t *testing.T, srv *wechatusertest.Server, v *vault, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(srv.AppID, "", append([]wechatuser.Option{
		wechatuser.WithTransport(srv.Transport()), wechatuser.WithSecretSource(v.secret),
	}, opts...)...)
	require.NoError(t, err)
	return c
}

// The source is asked once for each token request, and for nothing else.
func TestSecretSourceIsAskedForEachTokenRequest(t *testing.T) {
	for name, opts := range map[string][]wechatuser.Option{"stable": nil, "legacy": {wechatuser.WithLegacyToken()}} {
		t.Run(name, func(t *testing.T) {
			srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
			v := &vault{secrets: []string{srv.Secret}}
			c := vaultClient(t, srv, v, opts...)
			assert.Zero(t, v.asked, "not by New")
			for range 3 {
				require.NoError(t, testutil.GetTags(t.Context(), c))
			}
			assert.Equal(t, 1, v.asked)
			srv.ExpireTokens()
			require.NoError(t, testutil.GetTags(t.Context(), c))
			assert.Equal(t, 2, v.asked)
			require.NoError(t, c.ClearQuotaByAppSecret(t.Context()))
			assert.Equal(t, 3, v.asked)
			_, err := c.RefreshToken(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 4, v.asked)
		})
	}
}

// A secret that was changed at the platform is asked for once more, at once, and no call fails.
func TestSecretSourceAfterARotation(t *testing.T) {
	const old = "0123456789abcdef0123456789abcdef"
	for name, call := range map[string]func(context.Context, *wechatuser.Client) error{
		"stable token": testutil.GetTags,
		"forced refresh": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.RefreshToken(ctx)
			return err
		},
		"clearQuotaByAppSecret": func(ctx context.Context, c *wechatuser.Client) error {
			return c.ClearQuotaByAppSecret(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
			v := &vault{secrets: []string{old, srv.Secret}}
			require.NoError(t, call(t.Context(), vaultClient(t, srv, v)))
			assert.Equal(t, 2, v.asked)

			v = &vault{secrets: []string{old}}
			err := call(t.Context(), vaultClient(t, srv, v))
			require.ErrorIs(t, err, wechatuser.ErrCredential)
			assert.Equal(t, 2, v.asked, "the same secret again is not tried again")
			assert.NotContains(t, err.Error(), old)

			v = &vault{secrets: []string{old, strings.Repeat("f", 32)}}
			require.ErrorIs(t, call(t.Context(), vaultClient(t, srv, v)), wechatuser.ErrCredential)
			assert.Equal(t, 2, v.asked, "no third one")
		})
	}
	for _, code := range []wechatuser.Code{wechatuser.CodeInvalidSecret, wechatuser.CodeInvalidCredential} {
		s := testutil.Play(testutil.RespondCode(code), testutil.RespondJSON(testutil.TokenBody))
		v := &vault{secrets: []string{"first", "second"}}
		c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(s), wechatuser.WithSecretSource(v.secret))
		require.NoError(t, err)
		_, err = c.Token(t.Context())
		require.NoError(t, err)
		assert.Contains(t, s.Requests()[1].Body, `"secret":"second"`)
	}
	for _, code := range []wechatuser.Code{
		wechatuser.CodeInvalidAppID, wechatuser.CodeIPNotAllowed, wechatuser.CodeSecretFrozen,
	} {
		s := testutil.Play(testutil.RespondCode(code))
		v := &vault{secrets: []string{"first", "second"}}
		c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(s), wechatuser.WithSecretSource(v.secret))
		require.NoError(t, err)
		_, err = c.Token(t.Context())
		require.ErrorIs(t, err, code)
		assert.Equal(t, 1, v.asked, "the secret is not what was wrong")
	}
}

// The source takes precedence over the secret given to New.
func TestSecretSourceTakesPrecedence(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(),
		wechatusertest.WithAccount(testutil.AppID, "right"))
	v := &vault{secrets: []string{"right"}}
	c, err := wechatuser.New(testutil.AppID, "wrong", wechatuser.WithTransport(srv.Transport()),
		wechatuser.WithSecretSource(v.secret))
	require.NoError(t, err)
	require.NoError(t, testutil.GetTags(t.Context(), c))
}

// What the source fails with says so, and is found by errors.Is. Nothing is sent.
func TestSecretSourceThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			source func(context.Context) (string, error)
			want   string
			is     error
		}{
			"error": {func(context.Context) (string, error) {
				return "",
					fmt.Errorf("vault: %w", io.ErrClosedPipe)
			}, "secret source: vault: io: read/write on closed pipe", io.ErrClosedPipe},
			"empty": {func(context.Context) (string, error) {
				return "",
					nil
			}, "secret source: it returned an empty secret and no error", nil},
			"newline": {func(context.Context) (string, error) {
				return testutil.Sentinel + "\n",
					nil
			}, "secret source: the secret contains a space", nil},
			"both": {func(context.Context) (string, error) {
				return testutil.Secret,
					errors.New("old: " + testutil.Secret)
			}, "secret source: old: ***", nil},
			"timeout": {func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "",
					ctx.Err()
			}, "secret source: context deadline exceeded", context.DeadlineExceeded},
		} {
			s := testutil.Play(testutil.RespondJSON(testutil.TokenBody))
			c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(s),
				wechatuser.WithSecretSource(tt.source), wechatuser.WithTimeout(time.Second))
			require.NoError(t, err)
			for api, call := range map[string]func() error{
				"getStableAccessToken":  func() error { return testutil.GetTags(t.Context(), c) },
				"clearQuotaByAppSecret": func() error { return c.ClearQuotaByAppSecret(t.Context()) },
			} {
				err := call()
				require.ErrorContains(t, err, "wechatuser: "+api+": "+tt.want, name)
				assert.NotContains(t, err.Error(), testutil.Sentinel)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
			}
			assert.Zero(t, s.Count(), name)
		}
	})
}

func TestSecretIsNeededSomewhere(t *testing.T) {
	_, err := wechatuser.New(testutil.AppID, "")
	require.ErrorContains(t, err, "New: secret: empty")
	_, err = wechatuser.New(testutil.AppID, "", wechatuser.WithSecretSource(nil))
	require.ErrorContains(t, err, "WithSecretSource: nil function")
}
