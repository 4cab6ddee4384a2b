package wechatuserpush_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatuserpush"
)

func TestInvalidConfigIsReported(t *testing.T) {
	handle := func(context.Context, wechatuserpush.Event) error { return nil }
	_, err := wechatuserpush.NewHandler(wechatuserpush.Config{
		Token: "SENTINEL token", EncodingAESKey: aesKey + "S", PreviousEncodingAESKey: aesKey[1:] + "*",
		MaxAge: time.Second, Timeout: 5 * time.Second, MaxBody: 100,
	}, nil)
	for _, text := range []string{
		"wechatuserpush: NewHandler: AppID: empty",
		"Token: it has white space",
		"EncodingAESKey: 44 characters: an EncodingAESKey has 43",
		"PreviousEncodingAESKey: it has a character that is none of A-Z",
		"MaxAge: 1s is too short: use at least 30s",
		"Timeout: 5s: it must be more than 0 and less than 5s",
		"MaxBody: 100 bytes are too few: use at least 1024",
		"handle: nil function",
	} {
		assert.ErrorContains(t, err, text)
	}
	assert.NotContains(t, err.Error(), "SENTINEL")
	assert.Len(t, strings.Split(err.Error(), "\n"), 8, "no error is said twice")

	valid := wechatuserpush.Config{AppID: appID, Token: token, EncodingAESKey: aesKey}
	for text, change := range map[string]func(*wechatuserpush.Config){
		"EncodingAESKey: empty: set the mode": func(c *wechatuserpush.Config) { c.EncodingAESKey = "" },
		"EncodingAESKey: empty, and PreviousEncodingAESKey is": func(c *wechatuserpush.Config) {
			c.EncodingAESKey, c.PreviousEncodingAESKey = "", oldKey
		},
		"Timeout: -1s":     func(c *wechatuserpush.Config) { c.Timeout = -time.Second },
		"MaxAge: -1s":      func(c *wechatuserpush.Config) { c.MaxAge = -time.Second },
		"MaxBody: -1":      func(c *wechatuserpush.Config) { c.MaxBody = -1 },
		"AppID: it has":    func(c *wechatuserpush.Config) { c.AppID = "wx\n" },
		"Token: empty":     func(c *wechatuserpush.Config) { c.Token = "" },
		"EncodingAESKey: ": func(c *wechatuserpush.Config) { c.EncodingAESKey = "x" },
	} {
		cfg := valid
		change(&cfg)
		_, err := wechatuserpush.NewHandler(cfg, handle)
		assert.ErrorContains(t, err, text)
	}
	_, err = wechatuserpush.NewHandler(valid, handle)
	require.NoError(t, err)
}

// The largest values of all stand for no limit.
func TestNoLimits(t *testing.T) {
	for _, maxAge := range []time.Duration{math.MaxInt64, math.MaxInt64 / 2} {
		synctest.Test(t, func(t *testing.T) {
			r := newReceiver(t, func(c *wechatuserpush.Config) { c.MaxAge, c.MaxBody = maxAge, math.MaxInt64 }, nil)
			m := platform.safe(event("subscribe", time.Now().Unix()))
			assert.Equal(t, http.StatusOK, send(r, m).Code)
			time.Sleep(24 * time.Hour)
			assert.Equal(t, http.StatusOK, send(r, m).Code)
			assert.Equal(t, 1, r.calls(), "the repeat is recognized")
		})
	}
}
