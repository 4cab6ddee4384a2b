package wechatuser

import (
	"context"
	"errors"
	"net/url"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// UserInfoOption is for what is optional in [Client.GetUserInfo].
type UserInfoOption func(url.Values)

// WithLang asks for the names of places in this language. It has no effect today: the platform fills none in.
func WithLang(lang Lang) UserInfoOption {
	return func(query url.Values) {
		if lang != "" {
			query.Set("lang", string(lang))
		}
	}
}

// withOptions is what the options put into the query.
func withOptions(opts []UserInfoOption) url.Values {
	if len(opts) == 0 {
		return nil
	}
	query := url.Values{}
	for _, opt := range opts {
		if opt != nil {
			opt(query)
		}
	}
	return query
}

type userInfoResponse struct {
	wire.Envelope
	UserInfo
}

func (r *userInfoResponse) missing() string { return missingIf("openid", r.OpenID == "") }

// GetUserInfo gives the profile of one user.
//
// Somebody who has left the account is no error: Subscribe is 0 then. An openid of another account is refused with
// [CodeInvalidOpenID].
//
// userInfo, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_userinfo.html.
func (c *Client) GetUserInfo(ctx context.Context, openID string, opts ...UserInfoOption) (*UserInfo, error) {
	ep := &endpoints[userInfo]
	if err := ep.checkOpenID("openid", openID); err != nil {
		return nil, err
	}
	query := "openid=" + url.QueryEscape(openID)
	if optional := withOptions(opts); len(optional) > 0 {
		query += "&" + optional.Encode()
	}
	res, err := call[userInfoResponse](ctx, c, request{ep: ep, query: query}, nil)
	if err != nil {
		return nil, err
	}
	return &res.UserInfo, nil
}

type batchUserInfoResponse struct {
	wire.Envelope
	Users []UserInfo `json:"user_info_list"`
}

func (r *batchUserInfoResponse) missing() string { return missingIf("user_info_list", r.Users == nil) }

// BatchUserInfo gives the profiles of 1 to 100 users, in one call. Tell them apart by their OpenID, not by their place:
// the platform does not promise the order. One openid that it refuses fails them all; [Client.BulkUserInfo] has no
// limit and goes on without the refused ones.
//
// batchUserinfo, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchuserinfo.html.
func (c *Client) BatchUserInfo(ctx context.Context, users []UserQuery) ([]UserInfo, error) {
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
	res, err := call[batchUserInfoResponse](ctx, c, request{ep: ep}, struct {
		List []item `json:"user_list"`
	}{list})
	if err != nil {
		return nil, err
	}
	return res.Users, nil
}

// pageResponse is the answer of the three lists of openids.
type pageResponse struct {
	wire.Envelope
	Total *int `json:"total"`
	Count *int `json:"count"`
	Data  struct {
		OpenIDs []string `json:"openid"`
	} `json:"data"`
	NextOpenID *string `json:"next_openid"`
}

func (r *pageResponse) missing() string {
	if value(r.Count) > 0 && len(r.Data.OpenIDs) == 0 {
		return "data, though its count is above zero"
	}
	return missingIf("count", r.Count == nil && r.Total == nil && r.Data.OpenIDs == nil && r.NextOpenID == nil)
}

func (r *pageResponse) page() *OpenIDPage {
	return &OpenIDPage{Total: value(r.Total), Count: value(r.Count), OpenIDs: r.Data.OpenIDs, NextOpenID: value(r.NextOpenID)}
}

// GetFans gives a page of up to 10,000 followers: those after nextOpenID, or the first ones where it is empty.
// [Client.AllFans] walks over all pages.
//
// The order is the platform's own. The day's quota is small, 500 calls for a new account.
//
// getFans, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getfans.html.
func (c *Client) GetFans(ctx context.Context, nextOpenID string) (*OpenIDPage, error) {
	ep := &endpoints[getFans]
	if err := ep.checkCursor("next_openid", nextOpenID); err != nil {
		return nil, err
	}
	query := ""
	if nextOpenID != "" {
		query = "next_openid=" + url.QueryEscape(nextOpenID)
	}
	res, err := call[pageResponse](ctx, c, request{ep: ep, query: query}, nil)
	if err != nil {
		return nil, err
	}
	return res.page(), nil
}

// UpdateRemark writes the remark on a follower, which only the account's operators see. It has at most 30 bytes of
// UTF-8, which is 10 Chinese characters; an empty one takes the remark away.
//
// For somebody who does not follow the account the platform answers [CodeRequireSubscribe].
//
// updateRemark, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_updateremark.html.
func (c *Client) UpdateRemark(ctx context.Context, openID, remark string) error {
	ep := &endpoints[updateRemark]
	if err := ep.checkOpenID("openid", openID); err != nil {
		return err
	}
	if err := ep.checkText("remark", remark); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, c, request{ep: ep}, struct {
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

func (r *changeOpenIDResponse) missing() string { return missingIf("result_list", r.Results == nil) }

// ChangeOpenID gives the new openids of 1 to 100 users after the account fromAppID was migrated to this one. Each
// result has an error of its own; [Client.BulkChangeOpenID] has no limit.
//
// The platform answers from the approval of the migration on, for 15 days, and for those who still follow the old
// account. Before the migration has finished it answers [CodeSystemBusy] or [CodeMigrationInvalidAppID].
//
// changeOpenid, https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html.
func (c *Client) ChangeOpenID(ctx context.Context, fromAppID string, openIDs []string) ([]OpenIDChange, error) {
	ep := &endpoints[changeOpenID]
	if fromAppID == "" || !isWord(fromAppID) {
		return nil, ep.refuse("from_appid", "%q: give the app ID of the account that was migrated", fromAppID)
	}
	if err := ep.checkOpenIDs("openid_list", openIDs); err != nil {
		return nil, err
	}
	res, err := call[changeOpenIDResponse](ctx, c, request{ep: ep}, struct {
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
				reason = "the platform gave no new openid"
			}
			changes[i].Err = &OpenIDError{OpenID: r.From, Err: errors.New(reason)}
		}
	}
	return changes, nil
}

// okResponse is the answer of a write.
type okResponse struct{ wire.Envelope }

func (r *okResponse) missing() string {
	_, ok := r.Code()
	return missingIf("errcode", !ok)
}

func missingIf(field string, missing bool) string {
	if missing {
		return field
	}
	return ""
}

// value is what p points at, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
