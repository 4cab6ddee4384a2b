package wechatuser_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An empty cursor is sent as one: it is the beginning of the list.
func TestFirstPages(t *testing.T) {
	s := play(says(`{"total":0,"count":0,"next_openid":""}`))
	c := newClient(t, s)
	_, err := c.GetBlacklist(t.Context(), "")
	require.NoError(t, err)
	_, err = c.GetTagFans(t.Context(), 0, "")
	require.NoError(t, err)
	_, err = c.GetFans(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 3, s.count())
	assert.Equal(t, `{"begin_openid":""}`, s.requests()[0].Body)
	assert.Equal(t, `{"tagid":0,"next_openid":""}`, s.requests()[1].Body)
	assert.NotContains(t, s.requests()[2].Query, "next_openid")
}
