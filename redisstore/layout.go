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

// Layout gives the key under which another SDK keeps the token of an account, or the empty string for none. The value
// must be the token, as it is or as a JSON string, and its time to live that of the token or less.
//
// legacy says which kind of token is looked for: see [wechatuser.WithLegacyToken].
type Layout func(appID string, legacy bool) (key string)

// WxJava is the layout of WxJava's WxMpRedisConfigImpl. Its key prefix is "wx" in the Spring Boot starter, which is
// the default for "", and "wx:mp:multi" in the one for many accounts. The key is the same for both kinds of token:
// useStableAccessToken there should agree with the client here. Redisson must be set to StringCodec.
//
// https://github.com/binarywang/WxJava/blob/v4.7.0/weixin-java-mp/src/main/java/me/chanjar/weixin/mp/config/impl/WxMpRedisConfigImpl.java
func WxJava(prefix string) Layout {
	if prefix == "" {
		prefix = "wx"
	}
	return func(appID string, _ bool) string { return prefix + ":access_token:" + appID }
}

// Silenceper is the layout of github.com/silenceper/wechat. Its key prefix for Official Accounts is
// "gowechat_officialaccount_", which is the default for "".
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

// loadForeign looks for a token of another SDK.
func (s *Store) loadForeign(ctx context.Context, key string) (wechatuser.Token, error) {
	rest, ours := strings.CutPrefix(key, "wechatuser:token:")
	kind, appID, complete := strings.Cut(rest, ":")
	if !ours || !complete {
		return wechatuser.Token{}, nil
	}
	for _, layout := range s.layouts {
		name := layout(appID, kind == "legacy")
		if name == "" {
			continue
		}
		if t, err := s.readForeign(ctx, name); err != nil || t.AccessToken != "" {
			return t, err
		}
	}
	return wechatuser.Token{}, nil
}

// readForeign reads a token whose end is that of its key. One that has none is passed over: nobody knows its end.
func (s *Store) readForeign(ctx context.Context, name string) (wechatuser.Token, error) {
	type found struct {
		value string
		ttl   time.Duration
	}
	asked := time.Now()
	f, err := over(ctx, s.link, func(ctx context.Context) (found, error) {
		var value *redis.StringCmd
		var ttl *redis.DurationCmd
		_, err := s.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
			value, ttl = tx.Get(ctx, name), tx.PTTL(ctx, name)
			return nil
		})
		if errors.Is(err, redis.Nil) {
			return found{}, nil
		}
		return found{value.Val(), ttl.Val()}, err
	})
	if err != nil || f.value == "" || f.ttl <= 0 {
		return wechatuser.Token{}, err
	}
	token := f.value
	if strings.HasPrefix(token, `"`) && json.Unmarshal([]byte(f.value), &token) != nil || !isToken(token) {
		return wechatuser.Token{}, fmt.Errorf("redisstore: can't read the token of another SDK under %q: it is not plain text", name)
	}
	return wechatuser.Token{AccessToken: token, ExpiresAt: asked.Add(f.ttl).Round(0)}, nil
}

// isToken reports whether a text can be a token: printable ASCII, no space.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
