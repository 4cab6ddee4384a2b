package wechatuser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// WithCloudHosting is for a program in a container of WeChat cloud hosting (微信云托管) with its open interface service
// (开放接口服务), which adds the token: calls go to http://api.weixin.qq.com without one, the client fetches none, and the
// secret given to [New] may be empty. The account must be the one that the environment belongs to; for any other, use
// [WithSharedCloudHosting].
//
// Each path that is called must be allowed in the console under 云调用. Calls fail while the container is starting.
// According to the platform's documentation, [Client.BatchBlacklist], [Client.DeleteTag], [Client.BatchUntagging] and
// [Client.ChangeOpenID] do not work there, nor do their Bulk and Sync methods. [Client.Token], [Client.RefreshToken]
// and [Client.ClearQuotaByAppSecret] return an [*ArgumentError].
//
// This mode was written from the platform's documentation and was not tried in a container:
// https://developers.weixin.qq.com/minigame/dev/wxcloudrun/src/guide/weixin/open.html
func WithCloudHosting() Option { return cloudOption("WithCloudHosting", cloudOwn) }

// WithSharedCloudHosting is [WithCloudHosting] for an environment that belongs to another account, and is shared with
// this one (资源复用): each call says in its query that it is from the app ID given to [New].
//
// https://developers.weixin.qq.com/minigame/dev/wxcloudrun/src/guide/reuse/index.html
func WithSharedCloudHosting() Option { return cloudOption("WithSharedCloudHosting", cloudShared) }

func cloudOption(name string, mode cloud) Option {
	return func(c *config) error {
		if c.cloud != noCloud && c.cloud != mode {
			return optionError(name, "WithCloudHosting, WithSharedCloudHosting and WithCloudToken exclude each other")
		}
		c.cloud = mode
		return nil
	}
}

// WithCloudToken is for a program in a container of WeChat cloud hosting (微信云托管) without its open interface service:
// calls have the cloudbase_access_token of this file in place of an access token. The platform writes the file every 10
// minutes, and the client reads it for each attempt. The client fetches no token, and the secret given to [New] may be
// empty. As with [WithCloudHosting], each path must be allowed in the console, and the documentation excludes the same
// calls. [Client.RefreshToken] returns an [*ArgumentError].
//
// This mode was written from the platform's documentation and was not tried in a container:
// https://developers.weixin.qq.com/minigame/dev/wxcloud/guide/container/cloudcall.html
func WithCloudToken(file string) Option {
	return func(c *config) error {
		if file == "" {
			return optionError("WithCloudToken", "empty path: pass that of the file with the cloudbase_access_token")
		}
		if err := cloudOption("WithCloudToken", cloudToken)(c); err != nil {
			return err
		}
		c.cloudTokenFile = file
		return nil
	}
}

// authParam returns the query parameter that authorizes a call of the endpoint, with an empty name for none.
func (c *config) authParam(ep *endpoint, token Token) (name, value string) {
	switch {
	case ep.noAuth || c.cloud == cloudOwn:
		return "", ""
	case c.cloud == cloudShared:
		return "from_appid", c.appID
	case c.cloud == cloudToken:
		return "cloudbase_access_token", token.AccessToken
	default:
		return cmp.Or(ep.tokenParam, "access_token"), token.AccessToken
	}
}

// explainStatus returns what an HTTP status means where the client runs, nil if it has no special meaning there.
func (c *config) explainStatus(status int, ep *endpoint) error {
	if c.cloud.tokenFree() && status == http.StatusBadGateway {
		return fmt.Errorf("%s: in cloud hosting it means that the path %s is not allowed: add it in the console under 云调用",
			http.StatusText(status), ep.path)
	}
	return nil
}

// cloudTokens is the source of the tokens in a file of cloud hosting.
type cloudTokens struct{ file string }

// Token reads the file.
func (s cloudTokens) Token(context.Context) (Token, error) {
	data, err := os.ReadFile(s.file)
	if err != nil {
		return Token{}, err
	}
	token := strings.TrimSpace(string(data))
	switch {
	case token == "":
		return Token{}, errors.New("the file of WithCloudToken is empty: the platform fills it while the container starts")
	case !isCredential(token):
		return Token{}, errors.New("the file of WithCloudToken " + notACredential)
	}
	return Token{AccessToken: token}, nil
}
