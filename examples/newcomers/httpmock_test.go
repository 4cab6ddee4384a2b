package newcomers_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/newcomers"
)

// register mocks an account that is not authorized to use tags. The first request of a client is for its token.
func register(mock *httpmock.MockTransport) {
	mock.RegisterResponder(http.MethodPost, wechatuser.BaseURL+"/cgi-bin/stable_token",
		httpmock.NewStringResponder(http.StatusOK, `{"access_token":"TEST_TOKEN","expires_in":7200}`))
	mock.RegisterResponder(http.MethodGet, wechatuser.BaseURL+"/cgi-bin/tags/get",
		httpmock.NewStringResponder(http.StatusOK,
			`{"errcode":48001,"errmsg":"api unauthorized rid: 5f8539c4-6220bb17-745f8a17"}`))
}

func check(t *testing.T, mock *httpmock.MockTransport, c *wechatuser.Client) {
	t.Helper()
	_, err := newcomers.Job{Account: c, Tag: "new"}.Run(t.Context(), time.Now())
	require.ErrorIs(t, err, wechatuser.ErrPermission)
	assert.Equal(t, 2, mock.GetTotalCallCount(), "token and tags, no retry")
}

// Each test has its own mock, so tests can run in parallel.
func TestWithTransport(t *testing.T) {
	t.Parallel()
	mock := httpmock.NewMockTransport()
	register(mock)
	c, err := wechatuser.New("wxTEST", "TEST_SECRET", wechatuser.WithTransport(mock))
	require.NoError(t, err)
	check(t, mock, c)
}

// Everything that uses http.DefaultTransport is mocked, including a client without options.
func TestActivate(t *testing.T) {
	httpmock.Activate(t)
	register(httpmock.DefaultTransport)
	c, err := wechatuser.New("wxTEST", "TEST_SECRET")
	require.NoError(t, err)
	check(t, httpmock.DefaultTransport, c)
}

// The program passes its own http.Client, and the test mocks it, before or after New.
func TestActivateUserClient(t *testing.T) {
	userClient := &http.Client{Timeout: 5 * time.Second}
	c, err := wechatuser.New("wxTEST", "TEST_SECRET", wechatuser.WithHTTPClient(userClient))
	require.NoError(t, err)
	httpmock.ActivateNonDefault(userClient)
	t.Cleanup(httpmock.DeactivateAndReset)
	register(httpmock.DefaultTransport)
	check(t, httpmock.DefaultTransport, c)
}

// The program has created the client, so the test can't pass an option.
func TestActivateSDKClient(t *testing.T) {
	c, err := wechatuser.New("wxTEST", "TEST_SECRET")
	require.NoError(t, err)
	httpmock.ActivateNonDefault(c.HTTPClient())
	t.Cleanup(httpmock.DeactivateAndReset)
	register(httpmock.DefaultTransport)
	check(t, httpmock.DefaultTransport, c)
}
