package wechatuser

import (
	"context"
	"errors"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// The bodies of the calls that make, change and delete a tag.
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

func (r *tagResponse) missing() string { return missingIf("tag", r.Tag == nil || r.Tag.ID == 0) }

// CreateTag makes a tag. Its name has 1 to 30 bytes of UTF-8 and is unique, and an account has up to 100 tags.
//
// A name that is taken is refused with [CodeInvalidTagName]; [Client.EnsureTag] gives the tag of that name. Where the answer to a first attempt was lost and a second
// one finds the name taken, the tag of that name is what is returned. Where the outcome stays unknown the error
// matches [ErrAmbiguous].
//
// createTag, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_createtag.html.
func (c *Client) CreateTag(ctx context.Context, name string) (*Tag, error) {
	ep := &endpoints[createTag]
	if err := ep.checkTagName(name); err != nil {
		return nil, err
	}
	res, err := call[tagResponse](ctx, c, request{ep: ep}, tagBody[newTag]{newTag{name}})
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

func (r *tagsResponse) missing() string { return missingIf("tags", r.Tags == nil) }

// GetTags gives all tags of the account, the platform's own 星标组 among them.
//
// getTags, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettags.html.
func (c *Client) GetTags(ctx context.Context) ([]Tag, error) {
	res, err := call[tagsResponse](ctx, c, request{ep: &endpoints[getTags]}, nil)
	if err != nil {
		return nil, err
	}
	return res.Tags, nil
}

// findTag gives the tag that is wanted, nil if there is none.
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
	return nil, nil //nolint:nilnil // no such tag is an answer
}

// UpdateTag gives a tag another name, of 1 to 30 bytes of UTF-8.
//
// The platform's own tags are refused with [CodeSystemTag], a name that is taken with [CodeInvalidTagName].
//
// updateTag, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_updatetag.html.
func (c *Client) UpdateTag(ctx context.Context, tagID int, name string) error {
	ep := &endpoints[updateTag]
	if err := ep.checkTagID(tagID); err != nil {
		return err
	}
	if err := ep.checkTagName(name); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, c, request{ep: ep}, tagBody[namedTag]{namedTag{tagID, name}})
	return err
}

// DeleteTag removes a tag from the account and from its followers.
//
// A tag of more than 100,000 followers is refused with [CodeTagHasTooManyFans]: untag some first. The platform's own
// tags are refused with [CodeSystemTag]. Where the answer to a first attempt was lost and a second one finds no such
// tag, that is a success.
//
// deleteTag, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_deletetag.html.
func (c *Client) DeleteTag(ctx context.Context, tagID int) error {
	ep := &endpoints[deleteTag]
	if err := ep.checkTagID(tagID); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, c, request{ep: ep}, tagBody[tagRef]{tagRef{tagID}})
	if !errors.Is(err, ErrAmbiguous) {
		return err
	}
	if errors.Is(err, CodeInvalidTagID) {
		return nil
	}
	if c.retry.MaxAttempts > 1 && ctx.Err() == nil {
		if tag, findErr := c.findTag(ctx, func(t Tag) bool { return t.ID == tagID }); findErr == nil && tag == nil {
			return nil
		}
	}
	return err
}

// GetTagFans gives a page of followers with this tag: those after nextOpenID, or the first ones where it is empty.
// [Client.AllTagFans] walks over all pages. The platform gives no total here.
//
// getTagFans, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagfans.html.
func (c *Client) GetTagFans(ctx context.Context, tagID int, nextOpenID string) (*OpenIDPage, error) {
	ep := &endpoints[getTagFans]
	if err := ep.checkTagID(tagID); err != nil {
		return nil, err
	}
	if err := ep.checkCursor("next_openid", nextOpenID); err != nil {
		return nil, err
	}
	res, err := call[pageResponse](ctx, c, request{ep: ep}, struct {
		TagID      int    `json:"tagid"`
		NextOpenID string `json:"next_openid"`
	}{tagID, nextOpenID})
	if err != nil {
		return nil, err
	}
	return res.page(), nil
}

// BatchTagging puts a tag on 1 to 50 followers, in one call. A follower has up to 20 tags. One openid that the
// platform refuses fails them all; [Client.BulkTagging] has no limit and goes on without the refused ones.
//
// Where the platform processed only some ([CodeSomeOpenIDsFailed]), the others are sent again; FailedOpenIDs of the
// [*Error] names those that it did not process in the end.
//
// batchTagging, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html.
func (c *Client) BatchTagging(ctx context.Context, tagID int, openIDs []string) error {
	return c.tagMembers(ctx, &endpoints[batchTagging], tagID, openIDs)
}

// BatchUntagging takes a tag off 1 to 50 followers, in one call, otherwise as [Client.BatchTagging].
// [Client.BulkUntagging] has no limit.
//
// batchUntagging, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchuntagging.html.
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
	narrow := func(failed []string) ([]byte, error) { return wire.Marshal(body{failed, tagID}) }
	_, err := call[okResponse](ctx, c, request{ep: ep, openIDs: openIDs, narrow: narrow}, body{openIDs, tagID})
	return err
}

type tagIDListResponse struct {
	wire.Envelope
	TagIDs []int `json:"tagid_list"`
}

func (r *tagIDListResponse) missing() string { return missingIf("tagid_list", r.TagIDs == nil) }

// GetTagIDList gives the ids of the tags of one follower, 20 at most.
//
// getTagidList, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagidlist.html.
func (c *Client) GetTagIDList(ctx context.Context, openID string) ([]int, error) {
	ep := &endpoints[getTagIDList]
	if err := ep.checkOpenID("openid", openID); err != nil {
		return nil, err
	}
	res, err := call[tagIDListResponse](ctx, c, request{ep: ep}, struct {
		OpenID string `json:"openid"`
	}{openID})
	if err != nil {
		return nil, err
	}
	return res.TagIDs, nil
}

func (e *endpoint) checkTagName(name string) error {
	if name == "" {
		return e.refuse("name", "empty name")
	}
	return e.checkText("name", name)
}
