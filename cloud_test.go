package wechatuser_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// https://developers.weixin.qq.com/minigame/dev/wxcloudrun/src/guide/weixin/open.html
func TestCloudHostingOnTheWire(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("CLOUD+TOKEN\n"), 0o600))
	for name, tt := range map[string]struct {
		opt   wechatuser.Option
		base  string
		query url.Values
	}{
		"own": {wechatuser.WithCloudHosting(), "http://api.weixin.qq.com", url.Values{}},
		"shared": {
			wechatuser.WithSharedCloudHosting(), "http://api.weixin.qq.com", url.Values{"from_appid": {testutil.AppID}},
		},
		"token": {
			wechatuser.WithCloudToken(file), "https://api.weixin.qq.com",
			url.Values{"cloudbase_access_token": {"CLOUD+TOKEN"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := testutil.Play(testutil.RespondJSON(testutil.TagsBody), testutil.RespondJSON(testutil.AliceBody))
			var hosts []string
			c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(s), tt.opt,
				wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
				wechatuser.WithInterceptor(
					func(ctx context.Context, _ wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
						res, err := next(ctx)
						hosts = append(hosts, res.Host)
						return res, err
					}))
			require.NoError(t, err)
			assert.Empty(t, log.String(), "no secret travels in clear text")
			require.NoError(t, testutil.GetTags(t.Context(), c))
			_, err = c.GetUserInfo(t.Context(), testutil.Alice)
			require.NoError(t, err)
			require.Equal(t, 2, s.Count(), "no token request")
			assert.Equal(t, tt.query, s.Requests()[0].Query)
			query := url.Values{"openid": {testutil.Alice}}
			for key, values := range tt.query {
				query[key] = values
			}
			assert.Equal(t, query, s.Requests()[1].Query)
			assert.Equal(t, []string{tt.base, tt.base}, hosts)

			var ae *wechatuser.ArgumentError
			require.ErrorAs(t, c.ClearQuotaByAppSecret(t.Context()), &ae)
			_, err = c.RefreshToken(t.Context())
			require.ErrorAs(t, err, &ae)
			token, err := c.Token(t.Context())
			if name == "token" {
				require.NoError(t, err)
				assert.Equal(t, "CLOUD+TOKEN", token.AccessToken)
			} else {
				require.ErrorAs(t, err, &ae)
			}
		})
	}
}

func TestCloudHostingOnTheSimulator(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(3),
		wechatusertest.WithCloudHosting(testutil.PathGetTags, testutil.PathGetFans))
	defer srv.Close()
	for name, opt := range map[string]wechatuser.Option{
		"own": wechatuser.WithCloudHosting(), "shared": wechatuser.WithSharedCloudHosting(),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := wechatuser.New(srv.AppID, "", wechatuser.WithBaseURL(srv.URL), opt)
			require.NoError(t, err)
			require.NoError(t, testutil.GetTags(t.Context(), c))
			ids, errs := seq.Collect(c.AllFans(t.Context()))
			require.Empty(t, errs)
			assert.Len(t, ids, 3)

			err = c.Do(t.Context(), wechatuser.Request{Path: "/cgi-bin/qrcode/create", Body: 1}, nil)
			require.ErrorContains(t, err, "HTTP status 502")
			require.ErrorContains(t, err,
				"Bad Gateway: in cloud hosting it means that the path /cgi-bin/qrcode/create is not allowed")
		})
	}
	other, err := wechatuser.New("wxOTHER", "", wechatuser.WithBaseURL(srv.URL), wechatuser.WithSharedCloudHosting())
	require.NoError(t, err)
	require.ErrorIs(t, testutil.GetTags(t.Context(), other), wechatuser.CodeAPIUnauthorized)
	assert.Empty(t, srv.Requests("/cgi-bin/stable_token"))

	// Outside cloud hosting, status 502 is what it always is.
	s := testutil.Play(testutil.Respond(502, ""))
	assert.NotContains(t, testutil.GetTags(t.Context(), testutil.NewClient(t, s, testutil.NoRetry)).Error(),
		"cloud hosting")
}

// The file is read for each attempt, since the platform writes it every 10 minutes.
func TestCloudToken(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(),
		wechatusertest.WithCloudHosting(testutil.PathGetTags))
	file := filepath.Join(t.TempDir(), "token")
	c, err := wechatuser.New(srv.AppID, "", wechatuser.WithTransport(srv.Transport()), wechatuser.WithCloudToken(file))
	require.NoError(t, err)
	require.ErrorIs(t, testutil.GetTags(t.Context(), c), os.ErrNotExist)

	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write(srv.CloudToken())
	require.NoError(t, testutil.GetTags(t.Context(), c))
	require.ErrorIs(t, c.DeleteTag(t.Context(), 100), wechatuser.CodeCloudPathNotAllowed)
	write(testutil.Sentinel)
	err = testutil.GetTags(t.Context(), c)
	require.ErrorIs(t, err, wechatuser.ErrInvalidToken)
	assert.NotContains(t, err.Error(), testutil.Sentinel)
	for _, bad := range []string{"", " \n", testutil.Sentinel + " " + testutil.Sentinel} {
		write(bad)
		err = testutil.GetTags(t.Context(), c)
		require.ErrorContains(t, err, "token source: ")
		assert.NotContains(t, err.Error(), testutil.Sentinel)
	}

	// A token that was rejected is read again, and the call is retried.
	write(testutil.Sentinel)
	requests := 0
	c, err = wechatuser.New(srv.AppID, "", wechatuser.WithCloudToken(file),
		wechatuser.WithTransport(testutil.RoundTripFunc(
			func(r *http.Request) (*http.Response, error) {
				requests++
				write(srv.CloudToken()) // after the client has read the old one
				return srv.Transport().RoundTrip(r)
			})))
	require.NoError(t, err)
	require.NoError(t, testutil.GetTags(t.Context(), c))
	assert.Equal(t, 2, requests)
}

// If the file has no other token, the error is still the platform's, and says why there is none.
func TestCloudTokenThatIsRejectedAndGone(t *testing.T) {
	for want, replace := range map[string]func(file string) error{
		"is empty":                  func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"no such file or directory": os.Remove,
	} {
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte(testutil.Sentinel), 0o600))
		rejects := testutil.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
			assert.NoError(t, replace(file))
			return testutil.RespondCode(wechatuser.CodeInvalidCredential)(r)
		})
		c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(rejects), wechatuser.WithCloudToken(file))
		require.NoError(t, err)
		err = testutil.GetTags(t.Context(), c)
		require.ErrorIs(t, err, wechatuser.CodeInvalidCredential)
		require.ErrorIs(t, err, wechatuser.ErrInvalidToken)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), testutil.Sentinel)

		_, err = c.RefreshToken(t.Context())
		require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
		require.ErrorContains(t, err, "WithCloudToken")
	}
}

func TestCloudOptionsThatExcludeEachOther(t *testing.T) {
	for name, opts := range map[string][]wechatuser.Option{
		"both":              {wechatuser.WithCloudHosting(), wechatuser.WithSharedCloudHosting()},
		"hosting and token": {wechatuser.WithCloudToken("f"), wechatuser.WithCloudHosting()},
		"empty file":        {wechatuser.WithCloudToken("")},
		"token source": {
			wechatuser.WithCloudHosting(), wechatuser.WithTokenSource(wechatuser.StaticTokenSource("T")),
		},
		"token store": {
			wechatuser.WithTokenStore(wechatuser.NewMemoryTokenStore()), wechatuser.WithCloudToken("f"),
		},
		"legacy token":  {wechatuser.WithLegacyToken(), wechatuser.WithSharedCloudHosting()},
		"secret source": {wechatuser.WithCloudHosting(), wechatuser.WithSecretSource((&vault{}).secret)},
		"other hosts":   {wechatuser.WithCloudHosting(), wechatuser.WithDisasterRecovery()},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wechatuser.New(testutil.AppID, testutil.Secret, opts...)
			require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
			assert.Contains(t, err.Error(), "Cloud")
		})
	}
	_, err := wechatuser.New(testutil.AppID, "", wechatuser.WithCloudHosting(), wechatuser.WithCloudHosting())
	require.NoError(t, err, "the same twice")
}

// With WithPlainHTTP the addresses may be http, whatever the order of the options. One warning says what that means.
func TestWithPlainHTTP(t *testing.T) {
	plain := wechatuser.WithPlainHTTP()
	base := wechatuser.WithBaseURL("http://sandbox:8080", "http://10.0.0.1")
	for name, opts := range map[string][]wechatuser.Option{"before": {plain, base}, "after": {base, plain}} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := testutil.Play(testutil.RespondJSON(testutil.TagsBody))
			c := testutil.NewClient(t, s,
				append(opts, wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
			require.NoError(t, testutil.GetTags(t.Context(), c))
			assert.Equal(t, "sandbox:8080", s.Requests()[0].Host)
			assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
			assert.Contains(t, log.String(), "travel in clear text")
			assert.Contains(t, log.String(), "host=http://sandbox:8080")
		})
	}
	var log bytes.Buffer
	logger := wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))
	testutil.NewClient(t, testutil.Play(), logger, plain)
	testutil.NewClient(t, testutil.Play(), logger, plain,
		wechatuser.WithBaseURL("http://127.0.0.1:8080", "https://a.example.com"))
	assert.Empty(t, log.String(), "nothing travels in clear text")

	_, err := wechatuser.New(testutil.AppID, testutil.Secret, plain, wechatuser.WithBaseURL("ftp://a"))
	require.ErrorContains(t, err, "the scheme must be https")
}
