package wechatuser

import (
	"context"
	"errors"
	"strings"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// The bodies of the calls that create, rename and delete a tag.
type (
	tagBody[T any] struct {
		Tag T `json:"tag"`
	}
	newTag struct {
		Name string `json:"name"`
	}
	namedTag struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	tagRef struct {
		ID int `json:"id"`
	}
)

type tagResponse struct {
	wire.Envelope
	Tag *Tag `json:"tag"`
}

func (r *tagResponse) missingField() string { return missingIf("tag", r.Tag == nil || r.Tag.ID == 0) }

func checkNewTag(name string, resp response, _ []byte) error {
	// A name without the white space around it would still be this one.
	if got := resp.(*tagResponse).Tag.Name; got != "" && strings.TrimSpace(got) != strings.TrimSpace(name) {
		return errors.New("the response has a tag of another name")
	}
	return nil
}

// CreateTag creates a tag. Its name has 1 to 30 bytes of UTF-8 and is unique, and an account has at most 100 tags.
//
// The platform rejects a name that is taken with [CodeInvalidTagName]; [Client.EnsureTag] returns the tag of that name.
// If the response to the first attempt was lost and a retry finds the name taken, CreateTag returns the tag of that
// name. If the outcome remains unknown, the error matches [ErrAmbiguous].
//
// createTag, POST /cgi-bin/tags/create,
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_createtag.html.
func (c *Client) CreateTag(ctx context.Context, name string) (*Tag, error) {
	ep := &endpoints[createTag]
	if err := ep.checkTagName(name); err != nil {
		return nil, err
	}
	res, err := call[tagResponse](ctx, &c.caller, request{ep: ep, check: checkNewTag, subject: name}, tagBody[newTag]{newTag{name}})
	if err == nil {
		return res.Tag, nil
	}
	if errors.Is(err, ErrAmbiguous) && c.retry.MaxAttempts > 1 && ctx.Err() == nil {
		if tag, findErr := c.findTag(ctx, func(t Tag) bool { return t.Name == name }); findErr == nil && tag != nil {
			return tag, nil
		}
	}
	return nil, err
}

type tagsResponse struct {
	wire.Envelope
	Tags []Tag `json:"tags"`
}

func (r *tagsResponse) missingField() string { return missingIf("tags", r.Tags == nil) }

// GetTags returns all tags of the account, including the platform's own tag for starred followers (星标组).
//
// getTags, GET /cgi-bin/tags/get, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettags.html.
func (c *Client) GetTags(ctx context.Context) ([]Tag, error) {
	res, err := call[tagsResponse](ctx, &c.caller, request{ep: &endpoints[getTags]}, nil)
	if err != nil {
		return nil, err
	}
	return res.Tags, nil
}

// findTag returns the tag that is wanted, nil if there is none.
func (c *Client) findTag(ctx context.Context, wanted func(Tag) bool) (*Tag, error) {
	tags, err := c.GetTags(ctx)
	if err != nil {
		return nil, err
	}
	for i := range tags {
		if wanted(tags[i]) {
			return &tags[i], nil
		}
	}
	return nil, nil //nolint:nilnil // that there is no such tag is no error
}

// UpdateTag renames a tag. The name has 1 to 30 bytes of UTF-8.
//
// The platform rejects a change of its own tags with [CodeSystemTag], and a name that is taken with
// [CodeInvalidTagName].
//
// updateTag, POST /cgi-bin/tags/update,
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_updatetag.html.
func (c *Client) UpdateTag(ctx context.Context, tagID int, name string) error {
	ep := &endpoints[updateTag]
	if err := ep.checkTagID(tagID); err != nil {
		return err
	}
	if err := ep.checkTagName(name); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, &c.caller, request{ep: ep}, tagBody[namedTag]{namedTag{tagID, name}})
	return err
}

// DeleteTag removes a tag from the account and from its followers.
//
// The platform does not delete a tag of more than 100,000 followers ([CodeTagHasTooManyFans]): untag some first. It
// does not delete its own tags ([CodeSystemTag]). If the response to an attempt was lost and the retries fail,
// DeleteTag succeeds if [Client.GetTags] no longer has the tag. [CodeInvalidTagID] alone proves nothing: the platform
// is known to return it for tags that exist. If the outcome remains unknown, the error matches [ErrAmbiguous].
//
// deleteTag, POST /cgi-bin/tags/delete,
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_deletetag.html.
func (c *Client) DeleteTag(ctx context.Context, tagID int) error {
	ep := &endpoints[deleteTag]
	if err := ep.checkTagID(tagID); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, &c.caller, request{ep: ep}, tagBody[tagRef]{tagRef{tagID}})
	if errors.Is(err, ErrAmbiguous) && c.retry.MaxAttempts > 1 && ctx.Err() == nil {
		if tag, findErr := c.findTag(ctx, func(t Tag) bool { return t.ID == tagID }); findErr == nil && tag == nil {
			return nil
		}
	}
	return err
}

// GetTagFans returns a page of followers with this tag: those after nextOpenID, or the first ones if it is empty.
// [Client.AllTagFans] returns all pages. The platform sends no total here.
//
// getTagFans, POST /cgi-bin/user/tag/get,
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagfans.html.
func (c *Client) GetTagFans(ctx context.Context, tagID int, nextOpenID string) (*OpenIDPage, error) {
	ep := &endpoints[getTagFans]
	if err := ep.checkTagID(tagID); err != nil {
		return nil, err
	}
	if err := ep.checkCursor("next_openid", nextOpenID); err != nil {
		return nil, err
	}
	res, err := call[pageResponse](ctx, &c.caller, request{ep: ep}, struct {
		TagID      int    `json:"tagid"`
		NextOpenID string `json:"next_openid"`
	}{tagID, nextOpenID})
	if err != nil {
		return nil, err
	}
	return res.page(), nil
}

// BatchTagging tags 1 to 50 followers in one call. A follower has at most 20 tags. One rejected openid fails the whole
// call; [Client.BulkTagging] has no limit and goes on without the rejected ones.
//
// If the platform processed only some of them ([CodeSomeOpenIDsFailed]), the rest are retried; FailedOpenIDs of the
// [*Error] has those that still failed after the last attempt.
//
// batchTagging, POST /cgi-bin/tags/members/batchtagging,
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html.
func (c *Client) BatchTagging(ctx context.Context, tagID int, openIDs []string) error {
	return c.tagMembers(ctx, &endpoints[batchTagging], tagID, openIDs)
}

// BatchUntagging untags 1 to 50 followers in one call. Otherwise it works like [Client.BatchTagging].
// [Client.BulkUntagging] has no limit.
//
// batchUntagging, POST /cgi-bin/tags/members/batchuntagging,
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchuntagging.html.
func (c *Client) BatchUntagging(ctx context.Context, tagID int, openIDs []string) error {
	return c.tagMembers(ctx, &endpoints[batchUntagging], tagID, openIDs)
}

func (c *Client) tagMembers(ctx context.Context, ep *endpoint, tagID int, openIDs []string) error {
	if err := ep.checkTagID(tagID); err != nil {
		return err
	}
	if err := ep.checkOpenIDs("openid_list", openIDs); err != nil {
		return err
	}
	type body struct {
		OpenIDs []string `json:"openid_list"`
		TagID   int      `json:"tagid"`
	}
	bodyFor := func(openIDs []string) ([]byte, error) { return wire.Marshal(body{openIDs, tagID}) }
	_, err := call[okResponse](ctx, &c.caller, request{ep: ep, openIDs: openIDs, bodyFor: bodyFor}, body{openIDs, tagID})
	return err
}

type tagIDListResponse struct {
	wire.Envelope
	TagIDs []int `json:"tagid_list"`
}

func (r *tagIDListResponse) missingField() string { return missingIf("tagid_list", r.TagIDs == nil) }

// GetTagIDList returns the IDs of the tags of one follower, at most 20.
//
// getTagidList, POST /cgi-bin/tags/getidlist,
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagidlist.html.
func (c *Client) GetTagIDList(ctx context.Context, openID string) ([]int, error) {
	ep := &endpoints[getTagIDList]
	if err := ep.checkOpenID("openid", openID); err != nil {
		return nil, err
	}
	res, err := call[tagIDListResponse](ctx, &c.caller, request{ep: ep}, struct {
		OpenID string `json:"openid"`
	}{openID})
	if err != nil {
		return nil, err
	}
	return res.TagIDs, nil
}
