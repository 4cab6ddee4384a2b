package wechatuser_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// Invalid arguments are found before anything is sent, token requests included.
func TestArguments(t *testing.T) {
	const notUTF8 = "o\xffFAKE"
	badOpenIDs := []string{"oFAKE 1", "oFAKE\n", " oFAKE", "oFAKE\x00", "oFAKE\u3000", notUTF8}
	type test struct {
		name, api, field, want string
		call                   func(context.Context, *wechatuser.Client) error
	}
	var tests []test
	add := func(name, api, field, want string, call func(context.Context, *wechatuser.Client) error) {
		tests = append(tests, test{name: name, api: api, field: field, want: want, call: call})
	}

	// One openid.
	for _, m := range []struct {
		name, api, field string
		cursor           bool // empty is the first page
		call             func(ctx context.Context, c *wechatuser.Client, openID string) error
	}{
		{"GetUserInfo", "userInfo", "openid", false, func(ctx context.Context, c *wechatuser.Client, id string) error {
			_, err := c.GetUserInfo(ctx, id)
			return err
		}},
		{
			"BatchUserInfo", "batchUserinfo", "user_list", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				_, err := c.BatchUserInfo(ctx, []wechatuser.UserQuery{{OpenID: testutil.Alice}, {OpenID: id}})
				return err
			},
		},
		{
			"UpdateRemark", "updateRemark", "openid", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				return c.UpdateRemark(ctx, id, "r")
			},
		},
		{
			"GetTagIDList", "getTagidList", "openid", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				_, err := c.GetTagIDList(ctx, id)
				return err
			},
		},
		{
			"ChangeOpenID", "changeOpenid", "openid_list", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				_, err := c.ChangeOpenID(ctx, "wxOLD", []string{testutil.Alice, id})
				return err
			},
		},
		{
			"BatchTagging", "batchTagging", "openid_list", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				return c.BatchTagging(ctx, 100, []string{id, testutil.Alice})
			},
		},
		{
			"BatchUntagging", "batchUntagging", "openid_list", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				return c.BatchUntagging(ctx, 100, []string{id})
			},
		},
		{
			"BatchBlacklist", "batchBlacklist", "openid_list", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				return c.BatchBlacklist(ctx, []string{id})
			},
		},
		{
			"BatchUnblacklist", "batchUnblacklist", "openid_list", false,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				return c.BatchUnblacklist(ctx, []string{id})
			},
		},
		{"GetFans", "getFans", "next_openid", true, func(ctx context.Context, c *wechatuser.Client, id string) error {
			_, err := c.GetFans(ctx, id)
			return err
		}},
		{
			"GetTagFans", "getTagFans", "next_openid", true,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				_, err := c.GetTagFans(ctx, 100, id)
				return err
			},
		},
		{
			"GetBlacklist", "getBlacklist", "begin_openid", true,
			func(ctx context.Context, c *wechatuser.Client, id string) error {
				_, err := c.GetBlacklist(ctx, id)
				return err
			},
		},
	} {
		for _, id := range badOpenIDs {
			add(m.name+" of a bad openid", m.api, m.field, "contains ",
				func(ctx context.Context, c *wechatuser.Client) error { return m.call(ctx, c, id) })
		}
		if !m.cursor {
			add(m.name+" of no openid", m.api, m.field, "empty", func(ctx context.Context, c *wechatuser.Client) error {
				return m.call(ctx, c, "")
			})
		}
	}

	// Lists.
	for _, m := range []struct {
		name, api, field string
		limit            int
		want             string
		call             func(ctx context.Context, c *wechatuser.Client, openIDs []string) error
	}{
		{
			"BatchUserInfo", "batchUserinfo", "user_list", wechatuser.MaxUserInfoBatch,
			"101 openids, but one call takes at most 100: use BulkUserInfo for any number",
			func(ctx context.Context, c *wechatuser.Client, ids []string) error {
				var users []wechatuser.UserQuery
				for _, id := range ids {
					users = append(users, wechatuser.UserQuery{OpenID: id})
				}
				_, err := c.BatchUserInfo(ctx, users)
				return err
			},
		},
		{
			"ChangeOpenID", "changeOpenid", "openid_list", wechatuser.MaxUserInfoBatch,
			"101 openids, but one call takes at most 100: use BulkChangeOpenID for any number",
			func(ctx context.Context, c *wechatuser.Client, ids []string) error {
				_, err := c.ChangeOpenID(ctx, "wxOLD", ids)
				return err
			},
		},
		{
			"BatchTagging", "batchTagging", "openid_list", wechatuser.MaxTaggingBatch,
			"51 openids, but one call takes at most 50: use BulkTagging for any number",
			func(ctx context.Context, c *wechatuser.Client, ids []string) error {
				return c.BatchTagging(ctx, 100, ids)
			},
		},
		{
			"BatchUntagging", "batchUntagging", "openid_list", wechatuser.MaxTaggingBatch,
			"51 openids, but one call takes at most 50: use BulkUntagging for any number",
			func(ctx context.Context, c *wechatuser.Client, ids []string) error {
				return c.BatchUntagging(ctx, 100, ids)
			},
		},
		{
			"BatchBlacklist", "batchBlacklist", "openid_list", wechatuser.MaxBlacklistBatch,
			"21 openids, but one call takes at most 20: use BulkBlacklist for any number",
			func(ctx context.Context, c *wechatuser.Client, ids []string) error { return c.BatchBlacklist(ctx, ids) },
		},
		{
			"BatchUnblacklist", "batchUnblacklist", "openid_list", wechatuser.MaxBlacklistBatch,
			"21 openids, but one call takes at most 20: use BulkUnblacklist for any number",
			func(ctx context.Context, c *wechatuser.Client, ids []string) error {
				return c.BatchUnblacklist(ctx, ids)
			},
		},
	} {
		add(m.name+" without openids", m.api, m.field, "empty list",
			func(ctx context.Context, c *wechatuser.Client) error { return m.call(ctx, c, nil) })
		add(m.name+" of too many", m.api, m.field, m.want, func(ctx context.Context, c *wechatuser.Client) error {
			return m.call(ctx, c, slices.Repeat([]string{testutil.Alice}, m.limit+1))
		})
	}

	// Names, remarks, ids and the rest.
	long := strings.Repeat("大", 10) + "x" // 31 bytes
	add("UpdateRemark too long", "updateRemark", "remark", "31 bytes of UTF-8, at most 30",
		func(ctx context.Context, c *wechatuser.Client) error {
			return c.UpdateRemark(ctx, testutil.Alice, long)
		})
	add("UpdateRemark not UTF-8", "updateRemark", "remark", "not valid UTF-8",
		func(ctx context.Context, c *wechatuser.Client) error {
			return c.UpdateRemark(ctx, testutil.Alice, notUTF8)
		})
	add("CreateTag empty", "createTag", "name", "empty name", createTag(""))
	add("CreateTag too long", "createTag", "name", "31 bytes of UTF-8, at most 30", createTag(long))
	add("CreateTag not UTF-8", "createTag", "name", "not valid UTF-8", createTag(notUTF8))
	add("UpdateTag empty", "updateTag", "name", "empty name", func(ctx context.Context, c *wechatuser.Client) error {
		return c.UpdateTag(ctx, 100, "")
	})
	add("UpdateTag too long", "updateTag", "name", "31 bytes of UTF-8, at most 30",
		func(ctx context.Context, c *wechatuser.Client) error { return c.UpdateTag(ctx, 100, long) })
	for id, want := range map[int]string{0: "0 is not the ID of a tag", -1: "-1 is not the ID of a tag"} {
		for method, call := range withTagID {
			api := strings.ToLower(method[:1]) + method[1:]
			switch {
			case strings.HasPrefix(method, "Bulk"):
				api = strings.Replace(method, "Bulk", "batch", 1)
			case strings.HasPrefix(method, "Sync"):
				api = "batchTagging"
			case strings.HasPrefix(method, "All"):
				api = "getTagFans"
			}
			add(fmt.Sprint(method, " ", id), api, "tagid", want, func(ctx context.Context, c *wechatuser.Client) error {
				return call(ctx, c, id)
			})
		}
	}
	for _, from := range []string{"", "wx OLD", notUTF8} {
		add("ChangeOpenID from nowhere", "changeOpenid", "from_appid", "pass that of the account",
			func(ctx context.Context, c *wechatuser.Client) error {
				_, err := c.ChangeOpenID(ctx, from, []string{testutil.Alice})
				return err
			})
	}
	for _, path := range []string{
		"", "cgi-bin/user/get", "https://api.weixin.qq.com/cgi-bin/user/get", "/cgi-bin/user/get?x=1",
		"/cgi-bin/user/get#x", "//cgi-bin", "/cgi-bin/user get", "/cgi-bin/user/get\n", notUTF8,
	} {
		add("GetAPIQuota "+path, "getApiQuota", "cgi_path", `such as "/cgi-bin/user/get"`,
			func(ctx context.Context, c *wechatuser.Client) error {
				_, err := c.GetAPIQuota(ctx, path)
				return err
			})
		add("ClearAPIQuota "+path, "clearApiQuota", "cgi_path", `such as "/cgi-bin/user/get"`,
			func(ctx context.Context, c *wechatuser.Client) error { return c.ClearAPIQuota(ctx, path) })
	}
	for _, r := range []string{"", " ", testutil.RID + "\n", notUTF8} {
		add("GetRIDInfo", "getRidInfo", "rid", "pass the RID of an Error",
			func(ctx context.Context, c *wechatuser.Client) error {
				_, err := c.GetRIDInfo(ctx, r)
				return err
			})
	}

	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testutil.Play(testutil.RespondJSON(testutil.TokenBody))
			c := testutil.NewTokenClient(t, s,
				wechatuser.WithInterceptor(
					func(context.Context, wechatuser.Call, testutil.Next) (wechatuser.Result, error) {
						assert.Fail(t, "there was a call")
						return wechatuser.Result{}, nil
					}))
			err := tt.call(t.Context(), c)
			var ae *wechatuser.ArgumentError
			require.ErrorAs(t, err, &ae)
			assert.Equal(t, tt.api, ae.API)
			assert.Equal(t, tt.field, ae.Field)
			assert.Contains(t, ae.Reason, tt.want)
			assert.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
			assert.NotErrorIs(t, err, wechatuser.ErrTemporary)
			assert.Zero(t, s.Count())
		})
	}
}

func createTag(name string) func(context.Context, *wechatuser.Client) error {
	return func(ctx context.Context, c *wechatuser.Client) error {
		_, err := c.CreateTag(ctx, name)
		return err
	}
}

// withTagID are the methods about a tag.
var withTagID = map[string]func(ctx context.Context, c *wechatuser.Client, id int) error{
	"UpdateTag": func(ctx context.Context, c *wechatuser.Client, id int) error { return c.UpdateTag(ctx, id, "vip") },
	"DeleteTag": func(ctx context.Context, c *wechatuser.Client, id int) error { return c.DeleteTag(ctx, id) },
	"GetTagFans": func(ctx context.Context, c *wechatuser.Client, id int) error {
		_, err := c.GetTagFans(ctx, id, "")
		return err
	},
	"BatchTagging": func(ctx context.Context, c *wechatuser.Client, id int) error {
		return c.BatchTagging(ctx, id, []string{testutil.Alice})
	},
	"BatchUntagging": func(ctx context.Context, c *wechatuser.Client, id int) error {
		return c.BatchUntagging(ctx, id, []string{testutil.Alice})
	},
	"AllTagFans": func(ctx context.Context, c *wechatuser.Client, id int) error {
		return seq.LastError(c.AllTagFans(ctx, id))
	},
	"BulkTagging": func(ctx context.Context, c *wechatuser.Client, id int) error {
		_, err := c.BulkTagging(ctx, id, wechatuser.OpenIDs(testutil.Alice))
		return err
	},
	"BulkUntagging": func(ctx context.Context, c *wechatuser.Client, id int) error {
		_, err := c.BulkUntagging(ctx, id, wechatuser.OpenIDs(testutil.Alice))
		return err
	},
	"SyncTag": func(ctx context.Context, c *wechatuser.Client, id int) error {
		_, err := c.SyncTag(ctx, id, wechatuser.OpenIDs(testutil.Alice))
		return err
	},
}

// A nil context is an argument like any other: it panics in no method.
func TestNilContext(t *testing.T) {
	list := wechatuser.OpenIDs(testutil.Alice)
	calls := map[string]func(context.Context, *wechatuser.Client) error{
		"Do": func(ctx context.Context, c *wechatuser.Client) error {
			return c.Do(ctx, wechatuser.Request{Path: testutil.PathGetTags}, nil)
		},
		"EnsureTag": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.EnsureTag(ctx, "vip")
			return err
		},
		"AllFans": func(ctx context.Context, c *wechatuser.Client) error { return seq.LastError(c.AllFans(ctx)) },
		"AllTagFans": func(ctx context.Context, c *wechatuser.Client) error {
			return seq.LastError(c.AllTagFans(ctx, 134))
		},
		"AllBlacklist": func(ctx context.Context, c *wechatuser.Client) error {
			return seq.LastError(c.AllBlacklist(ctx))
		},
		"BulkUserInfo": func(ctx context.Context, c *wechatuser.Client) error {
			return seq.LastError(c.BulkUserInfo(ctx, list))
		},
		"BulkChangeOpenID": func(ctx context.Context, c *wechatuser.Client) error {
			return seq.LastError(c.BulkChangeOpenID(ctx, "wxOLD", list))
		},
		"BulkTagging": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.BulkTagging(ctx, 134, list)
			return err
		},
		"BulkUntagging": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.BulkUntagging(ctx, 134, list)
			return err
		},
		"BulkBlacklist": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.BulkBlacklist(ctx, list)
			return err
		},
		"BulkUnblacklist": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.BulkUnblacklist(ctx, list)
			return err
		},
		"SyncTag": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.SyncTag(ctx, 134, list)
			return err
		},
		"SyncBlacklist": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.SyncBlacklist(ctx, list)
			return err
		},
	}
	for _, call := range testutil.APICalls {
		calls[call.Name] = func(ctx context.Context, c *wechatuser.Client) error {
			_, err := call.Do(ctx, c)
			return err
		}
	}
	typ := reflect.TypeFor[*wechatuser.Client]()
	for i := range typ.NumMethod() {
		if name, typ := typ.Method(i).Name, typ.Method(i).Type; typ.NumIn() > 1 &&
			typ.In(1) == reflect.TypeFor[context.Context]() {
			assert.Contains(t, calls, name)
		}
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			s := testutil.Play(testutil.RespondJSON(testutil.TokenBody))
			for _, opt := range []wechatuser.Option{
				wechatuser.WithTransport(s), wechatuser.WithTokenSource(wechatuser.StaticTokenSource("T")),
			} {
				c := testutil.NewTokenClient(t, s, opt,
					wechatuser.WithLimiter(closedLimiter{t}))
				var none context.Context
				var ae *wechatuser.ArgumentError
				require.ErrorAs(t, call(none, c), &ae)
				assert.Equal(t, "ctx", ae.Field)
				assert.Contains(t, ae.Reason, "nil context")
			}
			assert.Zero(t, s.Count())
		})
	}
}

type closedLimiter struct{ t *testing.T }

func (l closedLimiter) Wait(context.Context) error {
	assert.Fail(l.t, "a call waited")
	return nil
}

// Arguments at the limit are sent.
func TestArgumentsAtTheLimit(t *testing.T) {
	ctx := t.Context()
	full := strings.Repeat("大", 10) // 30 bytes
	for name, call := range map[string]func(*wechatuser.Client) error{
		"remark of 30 bytes":   func(c *wechatuser.Client) error { return c.UpdateRemark(ctx, testutil.Alice, full) },
		"tag name of 30 bytes": func(c *wechatuser.Client) error { return c.UpdateTag(ctx, 100, full) },
		"the tag 星标组": func(c *wechatuser.Client) error {
			return c.BatchTagging(ctx, 2, []string{testutil.Alice})
		},
		"50 openids to tag": func(c *wechatuser.Client) error {
			return c.BatchTagging(ctx, 100, slices.Repeat([]string{testutil.Alice}, 50))
		},
		"50 openids to untag": func(c *wechatuser.Client) error {
			return c.BatchUntagging(ctx, 100, slices.Repeat([]string{testutil.Alice}, 50))
		},
		"20 openids to block": func(c *wechatuser.Client) error {
			return c.BatchBlacklist(ctx, slices.Repeat([]string{testutil.Alice}, 20))
		},
		"20 openids to unblock": func(c *wechatuser.Client) error {
			return c.BatchUnblacklist(ctx, slices.Repeat([]string{testutil.Alice}, 20))
		},
		"an unusual openid": func(c *wechatuser.Client) error { return c.UpdateRemark(ctx, "用户<&>\"1\"", "") },
	} {
		t.Run(name, func(t *testing.T) {
			s := testutil.Play(testutil.RespondJSON(testutil.OKBody))
			require.NoError(t, call(testutil.NewClient(t, s)))
			assert.Equal(t, 1, s.Count())
		})
	}

	s := testutil.Play(
		testutil.RespondJSON(
			`{"user_info_list":[` + testutil.AliceBody + `],"result_list":[{"ori_openid":"` + testutil.Alice + `"}]}`))
	_, err := testutil.NewClient(t, s).BatchUserInfo(ctx,
		slices.Repeat([]wechatuser.UserQuery{{OpenID: testutil.Alice}}, 100))
	require.NoError(t, err)
	_, err = testutil.NewClient(t, s).ChangeOpenID(ctx, "wxOLD", slices.Repeat([]string{testutil.Alice}, 100))
	require.NoError(t, err)
	assert.Equal(t, 2, s.Count())
}

// The limits are those of the platform.
func TestLimits(t *testing.T) {
	assert.Equal(t, []int{100, 50, 20},
		[]int{wechatuser.MaxUserInfoBatch, wechatuser.MaxTaggingBatch, wechatuser.MaxBlacklistBatch})
}

// What cannot be seen is named: it comes with text that was copied from a page, or with the first line of a file.
func TestInvisibleCharactersAreNamed(t *testing.T) {
	c := testutil.NewClient(t, testutil.Play())
	for openID, want := range map[string]string{
		"\ufeff" + testutil.Alice:      "contains U+FEFF",
		testutil.Alice + "\u200b":      "contains U+200B",
		"oFAKE\u200d" + testutil.Alice: "contains U+200D",
		testutil.Alice + "\u00ad":      "contains U+00AD",
		testutil.Alice + "\ufe0f":      "contains U+FE0F",
		testutil.Alice + "\u3000":      "contains U+3000",
		testutil.Alice + "\u00a0":      "contains U+00A0",
		testutil.Alice + "\xff":        "contains invalid UTF-8",
		testutil.Alice + "\n":          "contains a space or a control character",
	} {
		_, err := c.GetUserInfo(t.Context(), openID)
		require.ErrorIs(t, err, wechatuser.ErrInvalidArgument, want)
		require.ErrorContains(t, err, want)
		err = c.BatchTagging(t.Context(), 100, []string{testutil.Alice, openID})
		require.ErrorIs(t, err, wechatuser.ErrInvalidArgument, want)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "openid 2 of 2")
		_, errs := seq.Collect(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(openID)))
		require.Len(t, errs, 1)
		require.ErrorContains(t, errs[0], want)
	}
}

// JSON has no way to write most control characters but escapes, which the platform stores as they stand.
func TestControlCharactersInNames(t *testing.T) {
	c := testutil.NewClient(t, testutil.Play())
	for _, name := range []string{"\x01", "a\x00", "a\nb", "a\tb", "\x1f"} {
		_, createErr := c.CreateTag(t.Context(), name)
		_, ensureErr := c.EnsureTag(t.Context(), name)
		for _, err := range []error{
			c.UpdateRemark(t.Context(), testutil.Alice, name), createErr, ensureErr,
			c.UpdateTag(t.Context(), 100, name),
		} {
			require.ErrorIs(t, err, wechatuser.ErrInvalidArgument, "%q", name)
			require.ErrorContains(t, err, "control character", "%q", name)
		}
	}
}
