package wechatuser_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil"
)

// An empty cursor is sent too: it means the first page.
func TestFirstPages(t *testing.T) {
	s := testutil.Play(testutil.RespondJSON(`{"total":0,"count":0,"next_openid":""}`))
	c := testutil.NewClient(t, s)
	_, err := c.GetBlacklist(t.Context(), "")
	require.NoError(t, err)
	_, err = c.GetTagFans(t.Context(), 134, "")
	require.NoError(t, err)
	_, err = c.GetFans(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 3, s.Count())
	assert.Equal(t, `{"begin_openid":""}`, s.Requests()[0].Body)
	assert.Equal(t, `{"tagid":134,"next_openid":""}`, s.Requests()[1].Body)
	assert.NotContains(t, s.Requests()[2].Query, "next_openid")
}
