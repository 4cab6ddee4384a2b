package wechatuser_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// UserInfo is encoded with the platform's names, so that it can be stored and decoded again.
func TestUserInfoRoundTrip(t *testing.T) {
	data, err := json.Marshal(testutil.AliceInfo)
	require.NoError(t, err)
	assert.JSONEq(t, testutil.AliceBody, string(data))

	var got wechatuser.UserInfo
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, testutil.AliceInfo, got)
}
