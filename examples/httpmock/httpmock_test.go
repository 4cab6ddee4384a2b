package welcome_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	welcome "github.com/wechatuser/wechatuser/examples/httpmock"
)

// The first way: httpmock returns responses that the test defines, with bodies as the platform sends them. It shows how
// the service handles a response, even one that is hard to provoke. WithTransport isolates parallel tests.

const (
	tokenURL   = wechatuser.BaseURL + "/cgi-bin/stable_token"
	infoURL    = wechatuser.BaseURL + "/cgi-bin/user/info"
	taggingURL = wechatuser.BaseURL + "/cgi-bin/tags/members/batchtagging"
	remarkURL  = wechatuser.BaseURL + "/cgi-bin/user/info/updateremark"
)

func newMocked(t *testing.T) (*welcome.Service, *httpmock.MockTransport) {
	t.Helper()
	mock := httpmock.NewMockTransport()
	mock.RegisterResponder(http.MethodPost, tokenURL,
		httpmock.NewStringResponder(http.StatusOK, `{"access_token":"TEST_TOKEN","expires_in":7200}`))
	c, err := wechatuser.New("wxTEST", "TEST_SECRET", wechatuser.WithTransport(mock))
	require.NoError(t, err)
	return &welcome.Service{Followers: c, TagID: 134}, mock
}

func TestWelcomeWithHTTPMock(t *testing.T) {
	t.Parallel()
	svc, mock := newMocked(t)
	mock.RegisterResponder(http.MethodGet, infoURL, httpmock.NewStringResponder(http.StatusOK,
		`{"subscribe":1,"openid":"oTEST_A","subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":0,`+
			`"qr_scene_str":"shop-7","tagid_list":[]}`))
	ok := httpmock.NewStringResponder(http.StatusOK, `{"errcode":0,"errmsg":"ok"}`)
	mock.RegisterMatcherResponder(http.MethodPost, taggingURL,
		httpmock.BodyContainsString(`{"openid_list":["oTEST_A"],"tagid":134}`).WithName("tag oTEST_A"), ok)
	mock.RegisterMatcherResponder(http.MethodPost, remarkURL,
		httpmock.BodyContainsString(`{"openid":"oTEST_A","remark":"扫码 shop-7"}`).WithName("remark"), ok)

	user, err := svc.Welcome(t.Context(), "oTEST_A")

	require.NoError(t, err)
	assert.Equal(t, "扫码 shop-7", user.Remark)
	assert.Equal(t, 4, mock.GetTotalCallCount(), "token, profile, tag, remark")
}

func TestQuotaExceededWithHTTPMock(t *testing.T) {
	t.Parallel()
	svc, mock := newMocked(t)
	mock.RegisterResponder(http.MethodGet, infoURL, httpmock.NewStringResponder(http.StatusOK,
		`{"errcode":45009,"errmsg":"reach max api daily quota limit rid: 617682e0-09059ac5-34a8e2ea"}`))
	rec := httptest.NewRecorder()

	svc.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/welcome?openid=oTEST_A", nil))

	assert.Equal(t, http.StatusServiceUnavailable, rec.Code)
}

// If the program creates the client, so that the test cannot pass an option, the mock is installed afterwards.
func TestActivateNonDefault(t *testing.T) {
	c, err := wechatuser.New("wxTEST", "TEST_SECRET")
	require.NoError(t, err)
	httpmock.ActivateNonDefault(c.HTTPClient())
	defer httpmock.DeactivateAndReset()
	httpmock.RegisterResponder(http.MethodPost, tokenURL,
		httpmock.NewStringResponder(http.StatusOK, `{"access_token":"TEST_TOKEN","expires_in":7200}`))
	httpmock.RegisterResponder(http.MethodGet, infoURL, httpmock.NewStringResponder(http.StatusOK,
		`{"errcode":40003,"errmsg":"invalid openid rid: 5f8539c4-6220bb17-745f8a17"}`))

	_, err = (&welcome.Service{Followers: c}).Welcome(t.Context(), "oTEST_A")

	assert.ErrorIs(t, err, welcome.ErrNotFollowing)
}
