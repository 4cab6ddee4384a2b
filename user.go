package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/wechatuser/wechatuser/internal/redact"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// UserInfoOption configures [Client.GetUserInfo].
type UserInfoOption func(*userInfoConfig)

type userInfoConfig struct{ lang Lang }

// WithLang asks for place names in this language. It has no effect today: the platform leaves all place names empty.
func WithLang(lang Lang) UserInfoOption {
	return func(cfg *userInfoConfig) { cfg.lang = lang }
}

type userInfoResponse struct {
	wire.Envelope
	profile // without the methods of UserInfo, which would leave out the envelope
}

func (r *userInfoResponse) missingField() string { return missingIf("openid", r.OpenID == "") }

func checkUserInfo(openID string, resp response, body []byte) error {
	switch user := (*UserInfo)(&resp.(*userInfoResponse).profile); {
	case user.OpenID != openID:
		return errors.New("the response has the profile of another openid")
	case user.Subscribe == 0 && lacksSubscribe([]UserInfo{*user}, body):
		return errNoSubscribe
	}
	return nil
}

// GetUserInfo returns the profile of one user.
//
// For a former follower it returns no error, and Subscribe is 0. The platform rejects an openid of another account with
// [CodeInvalidOpenID]. A response with the profile of another openid is a [*ResponseError].
//
// userInfo, GET /cgi-bin/user/info,
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_userinfo.html.
func (c *Client) GetUserInfo(ctx context.Context, openID string, opts ...UserInfoOption) (*UserInfo, error) {
	ep := &endpoints[userInfo]
	if err := ep.checkOpenID("openid", openID); err != nil {
		return nil, err
	}
	var cfg userInfoConfig
	for _, opt := range opts {
		if opt != nil {
			opt(&cfg)
		}
	}
	query := "openid=" + url.QueryEscape(openID)
	if cfg.lang != "" {
		query += "&lang=" + url.QueryEscape(string(cfg.lang))
	}
	req := request{ep: ep, query: query, check: checkUserInfo, subject: openID}
	res, err := call[userInfoResponse](ctx, &c.caller, req, nil)
	if err != nil {
		return nil, err
	}
	return (*UserInfo)(&res.profile), nil
}

type batchUserInfoResponse struct {
	wire.Envelope
	Users []UserInfo `json:"user_info_list"`
}

func (r *batchUserInfoResponse) missingField() string {
	return missingIf("user_info_list", r.Users == nil)
}

// BatchUserInfo returns the profiles of 1 to 100 users in one call. Identify them by their OpenID, not by their
// position: the platform guarantees no order. One rejected openid fails the whole call; [Client.BulkUserInfo] has no
// limit and goes on without the rejected ones.
//
// If an openid belongs to nobody, the platform is known to mix up the UnionIDs of the other profiles. If a response may
// be mixed up, the call fails with a [*ResponseError] that matches [ErrUnproven]. It may also fail if the last user has
// left the account: [Client.BulkUserInfo] asks again and returns all profiles.
//
// batchUserinfo, POST /cgi-bin/user/info/batchget,
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchuserinfo.html.
func (c *Client) BatchUserInfo(ctx context.Context, users []UserQuery) ([]UserInfo, error) {
	return c.batchUserInfo(ctx, users, false)
}

// batchUserInfo is BatchUserInfo. If ofJob is set, the job checks which profiles are proven.
func (c *Client) batchUserInfo(ctx context.Context, users []UserQuery, ofJob bool) ([]UserInfo, error) {
	ep := &endpoints[batchUserInfo]
	if err := ep.checkSize("user_list", len(users)); err != nil {
		return nil, err
	}
	type item struct {
		OpenID string `json:"openid"`
		Lang   Lang   `json:"lang,omitempty"`
	}
	list := make([]item, len(users))
	for i, u := range users {
		if err := ep.checkOpenID("user_list", u.OpenID); err != nil {
			return nil, err
		}
		list[i] = item(u)
	}
	var incomplete atomic.Bool // an interceptor may run a call twice at a time
	req := request{ep: ep, check: func(_ string, resp response, body []byte) error {
		got := resp.(*batchUserInfoResponse).Users
		lacks := lacksSubscribe(got, body)
		incomplete.Store(lacks)
		switch {
		case ofJob:
			return nil
		case lacks:
			return fmt.Errorf("%w; %w", errNoSubscribe, errUnproven)
		}
		return checkBatch(users, got)
	}}
	if ofJob {
		req.items = len(users)
	}
	res, err := call[batchUserInfoResponse](ctx, &c.caller, req, struct {
		List []item `json:"user_list"`
	}{list})
	if err != nil {
		return nil, err
	}
	if incomplete.Load() {
		return nil, errNoSubscribe
	}
	return res.Users, nil
}

// GetFans returns a page of up to 10,000 followers: those after nextOpenID, or the first ones if it is empty.
// [Client.AllFans] returns all pages.
//
// The order is the platform's own. The daily quota is small: 500 calls for a new account.
//
// getFans, GET /cgi-bin/user/get,
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getfans.html.
func (c *Client) GetFans(ctx context.Context, nextOpenID string) (*OpenIDPage, error) {
	ep := &endpoints[getFans]
	if err := ep.checkCursor("next_openid", nextOpenID); err != nil {
		return nil, err
	}
	query := ""
	if nextOpenID != "" {
		query = "next_openid=" + url.QueryEscape(nextOpenID)
	}
	res, err := call[pageResponse](ctx, &c.caller, request{ep: ep, query: query}, nil)
	if err != nil {
		return nil, err
	}
	return res.page(), nil
}

// UpdateRemark sets the remark of a follower, which only the account's operators see. A remark has at most 30 bytes of
// UTF-8, which is 10 Chinese characters. An empty one removes the remark.
//
// For a user who does not follow the account the platform returns [CodeRequireSubscribe].
//
// updateRemark, POST /cgi-bin/user/info/updateremark,
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_updateremark.html.
func (c *Client) UpdateRemark(ctx context.Context, openID, remark string) error {
	ep := &endpoints[updateRemark]
	if err := ep.checkOpenID("openid", openID); err != nil {
		return err
	}
	if err := ep.checkText("remark", remark); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, &c.caller, request{ep: ep}, struct {
		OpenID string `json:"openid"`
		Remark string `json:"remark"`
	}{openID, remark})
	return err
}

type changeOpenIDResponse struct {
	wire.Envelope
	Results []struct {
		From    string `json:"ori_openid"`
		To      string `json:"new_openid"`
		Message string `json:"err_msg"`
	} `json:"result_list"`
}

func (r *changeOpenIDResponse) missingField() string {
	return missingIf("result_list", r.Results == nil)
}

// redact redacts the texts that become errors.
func (r *changeOpenIDResponse) redact(secrets redact.Redactor) {
	for i := range r.Results {
		r.Results[i].Message = secrets.Text(r.Results[i].Message)
	}
}

// ChangeOpenID returns the new openids of 1 to 100 users after the account fromAppID was migrated to this one. Each
// result has its own error; [Client.BulkChangeOpenID] has no limit.
//
// A response without one result for each openid is a [*ResponseError].
//
// The platform converts openids for 15 days after it approved the migration, and only those of users who still follow
// the old account. Before the migration is complete it returns [CodeSystemBusy] or [CodeMigrationInvalidAppID].
//
// changeOpenid, POST /cgi-bin/changeopenid,
// https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html.
func (c *Client) ChangeOpenID(ctx context.Context, fromAppID string, openIDs []string) ([]OpenIDChange, error) {
	return c.changeOpenID(ctx, fromAppID, openIDs, false)
}

// changeOpenID is ChangeOpenID. If ofJob is set, the job checks which result belongs to which openid.
func (c *Client) changeOpenID(ctx context.Context, fromAppID string, openIDs []string, ofJob bool) ([]OpenIDChange, error) {
	ep := &endpoints[changeOpenID]
	if fromAppID == "" || !isWord(fromAppID) {
		return nil, ep.argumentError("from_appid", "%q is not an app ID: pass that of the account that was migrated", fromAppID)
	}
	if err := ep.checkOpenIDs("openid_list", openIDs); err != nil {
		return nil, err
	}
	req := request{ep: ep}
	if ofJob {
		req.items = len(openIDs)
	} else {
		req.check = func(_ string, resp response, _ []byte) error {
			results := resp.(*changeOpenIDResponse).Results
			return matchOpenIDs(len(openIDs), func(i int) string { return openIDs[i] },
				len(results), func(i int) string { return results[i].From })
		}
	}
	res, err := call[changeOpenIDResponse](ctx, &c.caller, req, struct {
		FromAppID string   `json:"from_appid"`
		OpenIDs   []string `json:"openid_list"`
	}{fromAppID, openIDs})
	if err != nil {
		return nil, err
	}
	changes := make([]OpenIDChange, len(res.Results))
	for i, r := range res.Results {
		changes[i] = OpenIDChange{From: r.From, To: r.To}
		if r.To == "" {
			reason := r.Message
			if reason == "" || reason == "ok" {
				reason = "the platform returned no new openid"
			}
			changes[i].Err = &OpenIDError{OpenID: r.From, Err: errors.New(reason)}
		}
	}
	return changes, nil
}
