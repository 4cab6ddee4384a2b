package wechatuser

import "context"

// GetBlacklist returns a page of blocked users: those after beginOpenID, or the first ones if it is empty.
// [Client.AllBlacklist] returns all pages.
//
// getBlacklist, POST /cgi-bin/tags/members/getblacklist,
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html.
func (c *Client) GetBlacklist(ctx context.Context, beginOpenID string) (*OpenIDPage, error) {
	ep := &endpoints[getBlacklist]
	if err := ep.checkCursor("begin_openid", beginOpenID); err != nil {
		return nil, err
	}
	res, err := call[pageResponse](ctx, &c.caller, request{ep: ep}, struct {
		BeginOpenID string `json:"begin_openid"`
	}{beginOpenID})
	if err != nil {
		return nil, err
	}
	return res.page(), nil
}

// BatchBlacklist blocks 1 to 20 followers in one call. One rejected openid, such as that of a user who does not follow
// the account, fails the whole call; [Client.BulkBlacklist] has no limit and goes on without the rejected ones.
//
// batchBlacklist, POST /cgi-bin/tags/members/batchblacklist,
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchblacklist.html.
func (c *Client) BatchBlacklist(ctx context.Context, openIDs []string) error {
	return c.blacklistMembers(ctx, &endpoints[batchBlacklist], openIDs)
}

// BatchUnblacklist unblocks 1 to 20 users in one call. [Client.BulkUnblacklist] has no limit.
//
// batchUnblacklist, POST /cgi-bin/tags/members/batchunblacklist,
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchunblacklist.html.
func (c *Client) BatchUnblacklist(ctx context.Context, openIDs []string) error {
	return c.blacklistMembers(ctx, &endpoints[batchUnblacklist], openIDs)
}

func (c *Client) blacklistMembers(ctx context.Context, ep *endpoint, openIDs []string) error {
	if err := ep.checkOpenIDs("openid_list", openIDs); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, &c.caller, request{ep: ep}, struct {
		OpenIDs []string `json:"openid_list"`
	}{openIDs})
	return err
}
