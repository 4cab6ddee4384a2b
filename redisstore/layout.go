package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// Layout returns the key under which another SDK keeps the token of an account, or the empty string for none. The
// value under that key must be the token, either as plain text or as a JSON string, and must expire with the token or
// earlier.
//
// legacy reports whether a legacy token is needed: see [wechatuser.WithLegacyToken].
type Layout func(appID string, legacy bool) (key string)

// WxJava returns the layout of WxJava's WxMpRedisConfigImpl. An empty prefix means "wx", the key prefix of the Spring
// Boot starter; the starter for many accounts uses "wx:mp:multi". The key is the same for both kinds of token, so
// useStableAccessToken there should agree with the client here. Redisson must be configured with StringCodec.
//
// https://github.com/binarywang/WxJava/blob/v4.7.0/weixin-java-mp/src/main/java/me/chanjar/weixin/mp/config/impl/WxMpRedisConfigImpl.java
func WxJava(prefix string) Layout {
	if prefix == "" {
		prefix = "wx"
	}
	return func(appID string, _ bool) string { return prefix + ":access_token:" + appID }
}

// Silenceper returns the layout of github.com/silenceper/wechat. An empty prefix means "gowechat_officialaccount_", its
// key prefix for Official Accounts.
//
// https://github.com/silenceper/wechat/blob/v2.1.6/credential/default_access_token.go
// https://github.com/silenceper/wechat/blob/v2.1.6/cache/redis.go
func Silenceper(prefix string) Layout {
	if prefix == "" {
		prefix = "gowechat_officialaccount_"
	}
	return func(appID string, legacy bool) string {
		if legacy {
			return prefix + "_access_token_" + appID
		}
		return prefix + "_stable_access_token_" + appID
	}
}

// loadFromLayouts returns the first token found under the keys of other SDKs.
func (s *Store) loadFromLayouts(ctx context.Context, key string) (wechatuser.Token, error) {
	rest, ours := strings.CutPrefix(key, "wechatuser:token:")
	kind, appID, complete := strings.Cut(rest, ":")
	if !ours || !complete || kind != "stable" && kind != "legacy" {
		return wechatuser.Token{}, nil
	}
	for _, layout := range s.layouts {
		name := layout(appID, kind == "legacy")
		if name == "" {
			continue
		}
		if t, err := s.loadForeign(ctx, tripFor[reply](key), name); err != nil || t.AccessToken != "" {
			return t, err
		}
	}
	return wechatuser.Token{}, nil
}

// reply is the response to a request for the token of another SDK.
type reply struct {
	sent  time.Time
	value string
	ttl   time.Duration
}

// loadForeign returns the token of another SDK. The token expires with its key. A token under a key without an expiry
// is ignored, since its own expiry is unknown.
func (s *Store) loadForeign(ctx context.Context, trip tripFunc[reply], name string) (wechatuser.Token, error) {
	r, err := trip(ctx, s.breaker, func(ctx context.Context) (reply, error) {
		sent := time.Now()
		var value *redis.StringCmd
		var ttl *redis.DurationCmd
		_, err := s.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
			value, ttl = tx.Get(ctx, name), tx.PTTL(ctx, name)
			return nil
		})
		if errors.Is(err, redis.Nil) {
			return reply{}, nil
		}
		return reply{sent, value.Val(), ttl.Val()}, err
	})
	if err != nil || r.value == "" || r.ttl <= 0 {
		return wechatuser.Token{}, err
	}
	token := r.value
	if strings.HasPrefix(token, `"`) && json.Unmarshal([]byte(r.value), &token) != nil || !isToken(token) {
		return wechatuser.Token{}, fmt.Errorf("redisstore: invalid token of another SDK under %q: %w: not plain text",
			name, wechatuser.ErrUnreadableToken)
	}
	return wechatuser.Token{AccessToken: token, ExpiresAt: r.sent.Add(r.ttl).Round(0)}, nil
}

// isToken reports whether a text can be a token: printable ASCII without spaces.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
