package test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// A response changed by a proxy, a captive portal or a broken connection is never a result.
func TestInvalidResponses(t *testing.T) {
	type test struct {
		name        string
		status      int
		contentType string
		body        string
		want        string // in the error
	}
	tests := []test{
		{"null", 200, "application/json", `null`, "the body is null"},
		{"empty object", 200, "application/json", ` {} `, "the body is an empty object"},
		{"empty array", 200, "application/json", `[]`, "the body is an array"},
		{"array", 200, "application/json", `[{"errcode":0}]`, "the body is an array"},
		{"true", 200, "application/json", `true`, "the body is not a JSON object"},
		{"empty", 200, "application/json", ``, "the body is empty"},
		{"blank", 200, "", "\r\n", "the body is empty"},
		{"no content", 204, "", ``, "the body is empty"},
		{"text", 200, "text/plain", `OK`, "the body is not JSON"},
		{"HTML", 200, "text/html", `<html>Log in</html>`, "the body is HTML"},
		{"other object", 200, "application/json", `{"hello":1}`, "the response has no "},
		{
			"errcode of a wrong type", 200, "application/json", `{"errcode":true}`,
			"errcode: true or false where a whole number is expected",
		},
		{"HTML around a token", 200, "text/html", `<pre>{"access_token":"FAKE"}</pre>`, "the body is HTML"},
		{
			"two objects", 200, "application/json", testutil.OKBody + testutil.OKBody,
			"the JSON of the body is broken at byte 27 of 54",
		},
		{"bad gateway", 502, "text/html", `<html>502</html>`, "Bad Gateway"},
		{"platform's JSON with 500", 500, "application/json", testutil.OKBody, "Internal Server Error"},
		{"not found", 404, "application/json", `{"message":"no route"}`, "Not Found"},
		{"gone elsewhere", 302, "text/html", ``, "a redirect, which is not followed"},
		{"not modified", 304, "", ``, "a redirect, which is not followed"},
		{"switching protocols", 101, "", ``, "Switching Protocols"},
		{"odd status", 299, "application/json", ``, "the body is empty"},
		{"odder status", 999, "", ``, "unknown status"},
	}
	for _, call := range testutil.APICalls {
		cut := test{
			"cut", 200, "application/json", call.Response[:len(call.Response)-1], "the JSON of the body is cut after ",
		}
		for _, tt := range append(tests, cut) {
			t.Run(call.Name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := testutil.Play(testutil.Respond(tt.status, tt.body, "Content-Type", tt.contentType))
					got, err := call.Do(t.Context(), call.NewClient(t, s, testutil.NoRetry))
					require.Empty(t, got)
					var re *wechatuser.ResponseError
					require.ErrorAs(t, err, &re)
					assert.Equal(t, call.API, re.API)
					assert.Equal(t, tt.status, re.StatusCode)
					assert.Equal(t, tt.contentType, re.ContentType)
					assert.Equal(t, 1, re.Attempts)
					assert.ErrorContains(t, re.Err, tt.want)
					assert.ErrorContains(t, err,
						fmt.Sprintf("wechatuser: %s: not a response of the platform: HTTP status %d", call.API,
							tt.status))
					switch {
					case tt.body == "":
						assert.Empty(t, re.Snippet)
					case call.IsTokenCall():
						assert.Equal(t, fmt.Sprintf("a body of %d bytes", len(tt.body)), re.Snippet,
							"there may be a good token in it")
					default:
						shown := strings.ReplaceAll(strings.TrimSuffix(re.Snippet, "…"), "***", "FAKE")
						assert.True(t, strings.HasPrefix(tt.body, shown), re.Snippet)
					}
				})
			})
		}
	}
}

// The response to a write is no response to a read.
func TestSuccessWithoutPayload(t *testing.T) {
	for _, call := range testutil.APICalls {
		if call.Response == testutil.OKBody {
			continue
		}
		t.Run(call.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, err := call.Do(t.Context(),
					call.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.OKBody)), testutil.NoRetry))
				require.Empty(t, got)
				var re *wechatuser.ResponseError
				require.ErrorAs(t, err, &re)
				assert.ErrorContains(t, re.Err, "the response has no ")
			})
		})
	}
}

func TestInvalidPayloads(t *testing.T) {
	for _, tt := range []struct{ method, body, want string }{
		{"GetUserInfo", `{"subscribe":1}`, "no openid"},
		{"GetUserInfo", `{"openid":"` + testutil.Alice + `","subscribe":null}`, "it has no subscribe"},
		{"GetUserInfo", `{"openid":"` + testutil.Alice + `","subscribe": ""}`, "it has no subscribe"},
		{"BatchUserInfo", `{"users":[]}`, "no user_info_list"},
		{"BatchUserInfo", `{"user_info_list":null}`, "no result for one of the openids"},
		{"BatchUserInfo", `{"user_info_list":[null]}`, "user_info_list[0]: null where an object is expected"},
		{"GetFans", `{"total":5,"count":5,"next_openid":"o"}`, "no data, though its count is not 0"},
		{"GetFans", `{"total":5,"count":5,"data":{}}`, "no data, though its count is not 0"},
		{"CreateTag", `{"tag":null}`, "no tag"},
		{"CreateTag", `{"tag":{}}`, "no tag"},
		{"GetTags", `{"tag":[]}`, "no tags"},
		{"GetTags", `{"tags":"x"}`, "tags: a text where a list is expected"},
		{"GetTagIDList", `{"errcode":0}`, "no tagid_list"},
		{"ChangeOpenID", `{"errcode":0}`, "no result_list"},
		{"ChangeOpenID", `{"errcode":0,"result_list":null}`, "no result for one of the openids"},
		{"GetAPIQuota", `{"errcode":0,"quota":null}`, "no quota"},
		{"GetRIDInfo", `{"errcode":0,"request":null}`, "no request"},
		{"GetAPIDomainIP", `{"errcode":0}`, "no ip_list"},
		{"BatchTagging", `{"errmsg":"ok"}`, "no errcode"},
		{"Token", `{"access_token":"","expires_in":7200}`, "no access_token"},
		{"Token", `{"access_token":"FAKE"}`, "no expires_in above 0"},
		{"Token", `{"access_token":"FAKE","expires_in":-1}`, "no expires_in above 0"},
	} {
		t.Run(tt.method+" "+tt.body, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := testutil.CallOf(t, tt.method)
				got, err := call.Do(t.Context(),
					call.NewClient(t, testutil.Play(testutil.RespondJSON(tt.body)), testutil.NoRetry))
				require.Empty(t, got)
				var re *wechatuser.ResponseError
				require.ErrorAs(t, err, &re)
				assert.ErrorContains(t, re.Err, tt.want)
			})
		})
	}
}

// What stands for nothing is nothing, of whatever type it is. (No profile and no result is not what was asked for.)
func TestEmptyPayloads(t *testing.T) {
	for _, tt := range []struct {
		method, body string
		want         any
	}{
		{"GetTags", `{"tags":null}`, []wechatuser.Tag{}},
		{"GetTags", `{"tags":{}}`, []wechatuser.Tag{}},
		{"GetTags", `{"tags":""}`, []wechatuser.Tag{}},
		{"GetTagIDList", `{"tagid_list":null}`, []int{}},
		{"GetAPIDomainIP", `{"ip_list":null}`, []string{}},
		{"GetFans", `{"total":0,"count":0,"data":[],"next_openid":""}`, &wechatuser.OpenIDPage{}},
		{"GetFans", `{"total":"0","count":"0","data":"","next_openid":null}`, &wechatuser.OpenIDPage{}},
		{
			"GetFans", `{"total":"2","count":"1","data":{"openid":["oFAKE"]},"next_openid":"oFAKE"}`,
			&wechatuser.OpenIDPage{
				Total: 2, Count: 1, OpenIDs: []string{"oFAKE"}, NextOpenID: "oFAKE",
			},
		},
		{
			"GetUserInfo", `{"subscribe":"1","openid":"` + testutil.Alice + `","tagid_list":"","subscribe_time":[],"qr_scene":"98765","new":7}`,
			&wechatuser.UserInfo{
				Subscribe: 1, OpenID: testutil.Alice, TagIDList: []int{}, QRScene: 98765,
				Extra: map[string]json.RawMessage{"new": json.RawMessage("7")},
			},
		},
	} {
		t.Run(tt.method+" "+tt.body, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := testutil.CallOf(t, tt.method)
				s := testutil.Play(testutil.RespondJSON(tt.body))
				got, err := call.Do(t.Context(), call.NewClient(t, s))
				require.NoError(t, err)
				assert.Equal(t, tt.want, got)
			})
		})
	}
}

// A lifetime in quotes is a lifetime: one token request is enough.
func TestLifetimeInQuotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := testutil.CallOf(t, "Token")
		s := testutil.Play(testutil.RespondJSON(`{"access_token":"FAKE","expires_in":"7200"}`))
		got, err := call.Do(t.Context(), call.NewClient(t, s))
		require.NoError(t, err)
		assert.Equal(t, wechatuser.Token{AccessToken: "FAKE", ExpiresAt: time.Now().Add(7200 * time.Second).Round(0)},
			got)
	})
}

// A response with a value that cannot be read would be the same again. It is not asked for again.
func TestWrongTypesAreNotRetried(t *testing.T) {
	for _, call := range testutil.APICalls {
		t.Run(call.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testutil.Play(testutil.RespondJSON(`{"errcode":{"a":1}}`))
				_, err := call.Do(t.Context(), call.NewClient(t, s))
				var re *wechatuser.ResponseError
				require.ErrorAs(t, err, &re)
				assert.Equal(t, 1, re.Attempts)
				require.EqualError(t, re.Err, "errcode: an object where a whole number is expected")
				require.NotErrorIs(t, err, wechatuser.ErrTemporary)
				assert.Equal(t, call.Write, errors.Is(err, wechatuser.ErrAmbiguous))
			})
		})
	}
}

// An errcode is an error, whatever else is in the body.
func TestErrcode(t *testing.T) {
	bodies := map[string]string{
		"plain":           `{"errcode":48001,"errmsg":"api unauthorized rid: ` + testutil.RID + `"}`,
		"code in quotes":  `{"errcode":"48001","errmsg":"api unauthorized rid: ` + testutil.RID + `"}`,
		"empty payload":   `{"errcode":48001,"errmsg":"api unauthorized rid: ` + testutil.RID + `","data":"","tags":"","tag":[],"user_info_list":{},"openid":0,"quota":[],"request":"","access_token":7}`,
		"text and spaces": " {\n\"errmsg\" : \"\x07api unauthorized rid: " + testutil.RID + "\", \"errcode\" : 48001 }\r\n",
	}
	for _, call := range testutil.APICalls {
		for name, body := range bodies {
			t.Run(call.Name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := testutil.Play(testutil.RespondJSON(body))
					got, err := call.Do(t.Context(), call.NewClient(t, s))
					require.Empty(t, got)
					var e *wechatuser.Error
					require.ErrorAs(t, err, &e)
					assert.Equal(t, call.API, e.API)
					assert.Equal(t, wechatuser.CodeAPIUnauthorized, e.Code)
					assert.Equal(t, "api unauthorized", strings.TrimLeft(e.Message, "\x07"))
					assert.Equal(t, testutil.RID, e.RID)
					assert.Equal(t, 1, e.Attempts)
					assert.Equal(t, 1, s.Count())
				})
			})
		}
	}
}

func TestContentTypeDoesNotMatter(t *testing.T) {
	for _, header := range [][]string{
		nil,
		{"Content-Type", "text/plain"},
		{"Content-Type", "text/html; charset=gbk"},
		{"Content-Type", "application/octet-stream"},
		{"Content-Type", "application/json; encoding=utf-8"},
		{"Content-Type", "not a type;;"},
	} {
		tags, err := testutil.NewClient(t,
			testutil.Play(testutil.Respond(200, testutil.TagsBody, header...))).GetTags(t.Context())
		require.NoError(t, err, "%q", header)
		assert.Len(t, tags, 2)

		err = testutil.NewClient(t,
			testutil.Play(testutil.Respond(200, `{"errcode":40003,"errmsg":"invalid openid"}`,
				header...))).UpdateRemark(t.Context(), testutil.Alice, "r")
		require.ErrorIs(t, err, wechatuser.CodeInvalidOpenID, "%q", header)
	}
}

// The platform stores \u escapes literally, so that text is sent without them.
func TestTextIsSentAsItIs(t *testing.T) {
	for text, want := range map[string]string{
		"a&b<c>d":         `"a&b<c>d"`,
		"大客户":             `"大客户"`,
		"👩‍👩‍👧":           `"👩‍👩‍👧"`,
		"\u2028\u2029":    "\"\u2028\u2029\"",
		"\u007f\u0085":    "\"\u007f\u0085\"",
		"�":               `"�"`,
		`"\/`:             `"\"\\/"`,
		`\u5927`:          `"\\u5927"`,
		"\ufeff\u200bé":   "\"\ufeff\u200bé\"",
		"😀":               `"😀"`,
		"' ; -- /* {} []": `"' ; -- /* {} []"`,
	} {
		s := testutil.Play(testutil.RespondJSON(testutil.OKBody))
		require.NoError(t, testutil.NewClient(t, s).UpdateRemark(t.Context(), testutil.Alice, text))
		assert.Equal(t, `{"openid":"`+testutil.Alice+`","remark":`+want+`}`, s.Requests()[0].Body)
	}
}

func TestTextIsReadAsItIs(t *testing.T) {
	for name, want := range map[string]string{
		"a&b<c>d":                  "a&b<c>d",
		`https:\/\/wx.qlogo.cn\/0`: "https://wx.qlogo.cn/0",
		"a\x14b\x07c\nd":           "a\x14b\x07c\nd",
		"\x00":                     "\x00",
		"a\xffb\xe5\xb9":           "a\ufffdb\ufffd\ufffd",
		"\u2028😀":                  "\u2028😀",
		`\u5927\ud83d\ude00`:       "大😀",
		`\\u5927`:                  `\u5927`,
		`\ud83d`:                   "\ufffd",
	} {
		body := `{"new":{"a":[null]},"tags":[{"id":100,"name":"` + name + `","count":1,"color":7}]}`
		tags, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).GetTags(t.Context())
		require.NoError(t, err, "%q", name)
		assert.Equal(t, []wechatuser.Tag{{ID: 100, Name: want, Count: 1}}, tags)
	}
}

func TestEmptyPages(t *testing.T) {
	for _, body := range []string{
		`{"total":7,"count":0,"next_openid":""}`,
		`{"total":7,"count":0,"data":null,"next_openid":null}`,
		`{"total":7,"count":0,"data":{"openid":null}}`,
		`{"total":7,"count":0,"data":{"openid":[]}}`,
		`{"errcode":0,"errmsg":"ok","total":7,"count":0}`,
		`{"total":7}`,
	} {
		got, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).GetBlacklist(t.Context(), "")
		require.NoError(t, err, body)
		assert.Empty(t, got.OpenIDs)
		assert.Equal(t, wechatuser.OpenIDPage{Total: 7, OpenIDs: got.OpenIDs}, *got)
	}
}

// A body is read up to a limit, which also applies after decompression.
func TestBodyTooLarge(t *testing.T) {
	large := bytes.Repeat([]byte(" "), 17<<20)
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write(large)
	require.NoError(t, zw.Close())
	require.Less(t, packed.Len(), 1<<20)

	for encoding, body := range map[string][]byte{"identity": large, "gzip": packed.Bytes()} {
		t.Run(encoding, func(t *testing.T) {
			requests := 0
			srv := testutil.NewSocketServer(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", encoding)
				_, _ = w.Write(body)
			})
			c := testutil.NewClient(t, srv.Client().Transport, wechatuser.WithBaseURL(srv.URL),
				wechatuser.WithTimeout(time.Minute))
			_, err := c.GetTags(t.Context())
			var re *wechatuser.ResponseError
			require.ErrorAs(t, err, &re)
			assert.EqualError(t, re.Err, "the body is over 16 MiB")
			assert.Equal(t, 200, re.StatusCode)
			assert.Equal(t, "application/json", re.ContentType)
			assert.Equal(t, strings.Repeat(" ", 200)+"…", re.Snippet)
			assert.NotErrorIs(t, err, wechatuser.ErrTemporary)
			assert.Equal(t, 1, requests, "the next one would be as large")
		})
	}
}

// A body at the limit is read; one byte more is too much.
func TestBodyAtTheLimit(t *testing.T) {
	const limit = 16 << 20
	for size, ok := range map[int]bool{limit: true, limit + 1: false} {
		body := `{"tags":[]` + strings.Repeat(" ", size-len(`{"tags":[]}`)) + "}"
		_, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body)),
			testutil.NoRetry).GetTags(t.Context())
		assert.Equal(t, ok, err == nil, "%d: %v", size, err)
	}
}

func TestWrongContentLength(t *testing.T) {
	for name, tt := range map[string]struct{ announced, wantErr, wantSnippet string }{
		"too long":  {"1000", "unexpected EOF", testutil.TagsBody},
		"too short": {"20", "the JSON of the body is cut after 20 bytes", testutil.TagsBody[:20]},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testutil.NewSocketServer(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn,
					"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "+tt.announced+"\r\n\r\n"+
						testutil.TagsBody)
			})
			_, err := testutil.NewClient(t, srv.Client().Transport, wechatuser.WithBaseURL(srv.URL),
				testutil.NoRetry).GetTags(t.Context())
			var re *wechatuser.ResponseError
			require.ErrorAs(t, err, &re)
			assert.Equal(t, 200, re.StatusCode)
			assert.Equal(t, "text/plain", re.ContentType)
			assert.ErrorContains(t, re.Err, tt.wantErr)
			assert.True(t, strings.HasPrefix(re.Snippet, tt.wantSnippet[:20]), re.Snippet)
		})
	}
}

// net/http decompresses gzip by itself; other transports may leave it to the client.
func TestGzipFromATransportThatDoesNotDecompress(t *testing.T) {
	var packed strings.Builder
	zw := gzip.NewWriter(&packed)
	_, _ = io.WriteString(zw, testutil.TagsBody)
	require.NoError(t, zw.Close())

	tags, err := testutil.NewClient(t,
		testutil.Play(testutil.Respond(200, packed.String(), "Content-Encoding", "GZIP"))).GetTags(t.Context())
	require.NoError(t, err)
	assert.Len(t, tags, 2)

	for body, want := range map[string]string{
		testutil.TagsBody:                "the body is not the gzip that its header says: gzip: invalid header",
		packed.String()[:packed.Len()-4]: "unexpected EOF",
	} {
		_, err = testutil.NewClient(t, testutil.Play(testutil.Respond(200, body, "Content-Encoding", "gzip")),
			testutil.NoRetry).GetTags(t.Context())
		var re *wechatuser.ResponseError
		require.ErrorAs(t, err, &re)
		assert.EqualError(t, re.Err, want)
	}
}

func TestSnippet(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"short":         {"<p>no</p>", "<p>no</p>"},
		"200 letters":   {"<" + strings.Repeat("a", 199), "<" + strings.Repeat("a", 199)},
		"201 letters":   {"<" + strings.Repeat("a", 200), "<" + strings.Repeat("a", 199) + "…"},
		"201 emoji":     {"<" + strings.Repeat("😀", 200), "<" + strings.Repeat("😀", 199) + "…"},
		"only emoji":    {strings.Repeat("😀", 201), strings.Repeat("😀", 200) + "…"},
		"invalid UTF-8": {"<\xff\xfe大", "<\ufffd大"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := testutil.NewClient(t, testutil.Play(testutil.Respond(403, tt.body))).GetTags(t.Context())
			var re *wechatuser.ResponseError
			require.ErrorAs(t, err, &re)
			assert.Equal(t, tt.want, re.Snippet)
		})
	}
}

// A body at the limit, in what it has of one thing, costs an error of a few KiB.
func TestHugeMessage(t *testing.T) {
	for name, text := range map[string]string{"text": "x", "control characters": "\x01", "hints": "hint: [rid: "} {
		t.Run(name, func(t *testing.T) {
			body := `{"errcode":48001,"errmsg":"` + strings.Repeat(text, (15<<20)/len(text)) + ` rid: ` + testutil.RID + `"}`
			_, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body)),
				testutil.NoRetry).GetTags(t.Context())
			var e *wechatuser.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, wechatuser.CodeAPIUnauthorized, e.Code)
			assert.Equal(t, testutil.RID, e.RID, "the rid is at the end")
			assert.Less(t, len(err.Error()), 4<<10)
		})
	}
}
