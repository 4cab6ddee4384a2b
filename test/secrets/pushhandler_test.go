package secrets

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// brokenStore is a Deduplicator that fails with what it was given.
type brokenStore struct{}

func (brokenStore) Claim(_ context.Context, key, _ string, _ time.Duration) (wechatuserpush.State, error) {
	return 0, errors.New(key + testutil.Secret)
}

func (brokenStore) Done(_ context.Context, key string, _ time.Duration) error {
	return errors.New(key + testutil.Secret)
}

func (brokenStore) Release(_ context.Context, key, _ string) error {
	return errors.New(key + testutil.Secret)
}

// assertCleanPrint is assertCleanValue for a value that has to be written as JSON, and to which %p does not apply.
func assertCleanPrint(t *testing.T, v any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%d", "%x", "%X"} {
		testutil.AssertClean(t, fmt.Sprintf(verb, v))
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "value", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "value", v)
	testutil.AssertClean(t, log.String())
}

// The token of pushes is a secret, and so are the openid, the ticket and the code that a push has.
func TestNoSecretLeaksFromPushHandlers(t *testing.T) {
	aesKey := base64.RawStdEncoding.EncodeToString([]byte(testutil.Secret)[:32])
	var log bytes.Buffer
	cfg := wechatuserpush.Config{
		AppID: testutil.AppID, Token: testutil.Secret, EncodingAESKey: aesKey, PreviousEncodingAESKey: aesKey,
		AllowPlain: true, Deduplicator: brokenStore{},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	assertCleanPrint(t, cfg)
	data, err := json.Marshal(wechatuserpush.Config{
		Token: cfg.Token, EncodingAESKey: aesKey, PreviousEncodingAESKey: aesKey,
	})
	require.NoError(t, err)
	testutil.AssertClean(t, string(data))

	wrong := cfg
	wrong.Token, wrong.EncodingAESKey, wrong.PreviousEncodingAESKey = testutil.Secret+" ", aesKey[1:], aesKey+"*"
	_, err = wechatuserpush.NewHandler(wrong, nil)
	require.Error(t, err)
	assertCleanError(t, err)

	failures := map[string]func(){
		"nothing": func() {},
		"error":   nil,
		"panic":   func() { panic(testutil.Token + testutil.Secret) },
		"value":   func() { panic(valueError{testutil.Token}) },
	}
	for name, fail := range failures {
		for _, field := range []string{
			"FromUserName", "OpenID", "UnionID", "Ticket", "ComponentVerifyTicket", "AuthorizationCode", "PreAuthCode",
		} {
			t.Run(name+"/"+field, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, err := wechatuserpush.NewHandler(cfg, func(_ context.Context, event wechatuserpush.Event) error {
						assertCleanPrint(t, event)
						assertCleanPrint(t, event.PushHeader())
						if fail == nil {
							return fmt.Errorf("%s: %w", event.PushHeader().XML, errors.New(testutil.Secret))
						}
						fail()
						return nil
					})
					require.NoError(t, err)
					assertCleanValue(t, h)
					timestamp := strconv.FormatInt(time.Now().Unix(), 10)
					parts := []string{testutil.Secret, timestamp, "1"}
					slices.Sort(parts)
					sum := sha1.Sum([]byte(strings.Join(parts, "")))
					target := "/?timestamp=" + timestamp + "&nonce=1&openid=" + testutil.Sentinel + "&signature="
					body := "<xml><MsgType>event</MsgType><Event>subscribe</Event><" + field + ">" + testutil.Token +
						"</" + field + "></xml>"
					for _, signature := range []string{"wrong", hex.EncodeToString(sum[:])} {
						w := httptest.NewRecorder()
						h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, target+signature, strings.NewReader(body)))
						testutil.AssertClean(t, fmt.Sprint(w.Header(), w.Body))
					}
					assert.Positive(t, log.Len())
					testutil.AssertClean(t, log.String())
				})
			})
		}
	}
	assert.Contains(t, log.String(), "not handled")
	assert.Contains(t, log.String(), "***")
}
