package wechatuser_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

func TestEveryEndpoint(t *testing.T) {
	for _, call := range testutil.APICalls {
		t.Run(call.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testutil.Play(testutil.RespondJSON(call.Response))
				got, err := call.Do(t.Context(), call.NewClient(t, s))
				require.NoError(t, err)
				assert.Equal(t, call.Want, got)

				require.Equal(t, 1, s.Count())
				req := s.Requests()[0]
				query := url.Values{}
				for name, values := range call.Query {
					query[name] = values
				}
				if !call.OwnAuth {
					query.Set("access_token", testutil.Token)
				}
				assert.Equal(t, call.Method, req.Method)
				assert.Equal(t, "api.weixin.qq.com", req.Host)
				assert.Equal(t, call.Path, req.Path)
				assert.Equal(t, query, req.Query)
				assert.Equal(t, call.Body, req.Body)
				assert.EqualValues(t, len(call.Body), req.Length, "no chunked body")

				header := http.Header{
					"Accept": {"application/json"}, "User-Agent": {"wechatuser/" + wechatuser.Version},
				}
				if call.Body != "" {
					header.Set("Content-Type", "application/json")
					if !slices.Contains(testutil.NeverRetried, call.Name) {
						// is not sent, and tells net/http that it may repeat the request
						header["Idempotency-Key"] = nil
					}
				}
				assert.Equal(t, header, req.Header)
			})
		})
	}
}

// What net/http adds to a request shows only at the other end of a socket.
func TestRequestOnTheWire(t *testing.T) {
	var got *http.Request
	srv := testutil.NewSocketServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = w.Write([]byte(testutil.OKBody))
	})
	c := testutil.NewClient(t, srv.Client().Transport, wechatuser.WithBaseURL(srv.URL+"/proxy/"),
		wechatuser.WithUserAgent("shop/2.0 (test)"))
	require.NoError(t, c.UpdateTag(t.Context(), 100, "大<&>"))

	assert.Equal(t, "/proxy/cgi-bin/tags/update?access_token="+url.QueryEscape(testutil.Token), got.RequestURI)
	body := `{"tag":{"id":100,"name":"大<&>"}}`
	assert.Equal(t, http.Header{
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip"},
		"Content-Length":  {strconv.Itoa(len(body))},
		"Content-Type":    {"application/json"},
		"User-Agent":      {"shop/2.0 (test)"},
	}, got.Header)
	assert.Empty(t, got.TransferEncoding)
}

// otherMethods are the methods that are not one endpoint.
var otherMethods = []string{
	"Do", "AppID", "HTTPClient", "String", "Format", "LogValue",
	"AllFans", "AllTagFans", "AllBlacklist",
	"BulkUserInfo", "BulkChangeOpenID", "BulkTagging", "BulkUntagging", "BulkBlacklist", "BulkUnblacklist",
	"SyncTag", "SyncBlacklist", "EnsureTag",
}

func TestEveryMethodAndEndpointHasACall(t *testing.T) {
	methods, apis := map[string]bool{}, map[string]bool{}
	for _, call := range testutil.APICalls {
		name, _, _ := strings.Cut(call.Name, "/")
		methods[name], apis[call.API] = true, true
	}
	for _, name := range otherMethods {
		methods[name] = true
	}
	typ := reflect.TypeFor[*wechatuser.Client]()
	for i := range typ.NumMethod() {
		assert.Contains(t, methods, typ.Method(i).Name)
	}
	for _, api := range wechatuser.EndpointAPIs() {
		assert.Contains(t, apis, api)
	}
	assert.Len(t, apis, len(wechatuser.EndpointAPIs()))
}

// The suites in folder test rely on the calls in place of the endpoint table.
func TestCallsAgreeWithTheEndpointTable(t *testing.T) {
	rows := map[string]wechatuser.Endpoint{}
	for _, row := range wechatuser.Endpoints() {
		if row.Force {
			row.API = "RefreshToken"
		}
		rows[row.API] = wechatuser.Endpoint{
			API: row.API, Path: row.Path, Write: row.Write, NoAuth: row.NoAuth,
			Never: row.Never, CleansUp: row.CleansUp, Force: row.Force,
		}
	}
	seen := map[string]bool{}
	for _, call := range testutil.APICalls {
		api := call.API
		if call.Name == "RefreshToken" {
			api = call.Name
		}
		seen[api] = true
		assert.Equal(t, rows[api], wechatuser.Endpoint{
			API: api, Path: call.Path, Write: call.Write, NoAuth: call.OwnAuth,
			Never: call.Retry == testutil.RetryNever, CleansUp: call.Retry == testutil.RetryLookUp,
			Force: call.Name == "RefreshToken",
		}, call.Name)
	}
	assert.Len(t, seen, len(rows))
}

func TestEndpointTable(t *testing.T) {
	apis, paths := map[string]int{}, map[string]int{}
	for _, ep := range wechatuser.Endpoints() {
		t.Run(ep.API, func(t *testing.T) {
			assert.Regexp(t, `^[a-z][A-Za-z]+$`, ep.API)
			assert.NotEmpty(t, ep.Title)
			assert.Contains(t, []string{"GET", "POST"}, ep.Method)
			assert.Regexp(t, `^/cgi-bin(/[a-z_0-9]+)+$`, ep.Path)

			page, err := url.Parse(ep.DocURL)
			require.NoError(t, err)
			assert.Equal(t, "developers.weixin.qq.com", page.Host)
			assert.Equal(t, "https", page.Scheme)
			folder, name, _ := strings.Cut(strings.TrimPrefix(page.Path, "/doc/service/api/"), "/api_")
			folders := []string{"usermanage/userinfo", "usermanage/tag", "usermanage/changeopenid", "apimanage", "base"}
			assert.Contains(t, folders, folder)
			assert.Equal(t, strings.ToLower(ep.API)+".html", name, "the platform names a page after its interface")

			if ep.Max > 0 {
				_, ok := reflect.TypeFor[*wechatuser.Client]().MethodByName(ep.Bulk)
				assert.True(t, ok, "the method without a limit is %q", ep.Bulk)
			} else {
				assert.Empty(t, ep.Bulk)
			}
			if strings.HasPrefix(ep.API, "clear") {
				assert.True(t, ep.Never)
			}
			if ep.Never || ep.CleansUp {
				assert.True(t, ep.Write || ep.NoAuth, "reading is always retried")
			}
			if ep.Method == "GET" {
				assert.False(t, ep.Write)
			}
		})
		if !ep.Force { // the same endpoint with another argument
			apis[ep.API]++
			paths[ep.Path]++
		}
	}
	for name, n := range apis {
		assert.Equal(t, 1, n, name)
	}
	for path, n := range paths {
		assert.Equal(t, 1, n, path)
	}
	// 16 of the user management, 6 of its quotas and addresses, and 2 for tokens.
	assert.Len(t, apis, 24)
}

// The doc comment of each method names its request, and so does the list in the package's documentation, for those who
// register them with httpmock.
func TestDocumentationNamesEachRequest(t *testing.T) {
	docs, packageDoc := map[string]string{}, ""
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		packageDoc += file.Doc.Text()
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil &&
				types.ExprString(f.Recv.List[0].Type) == "*Client" {
				docs[f.Name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
			}
		}
	}
	urls := map[string]string{}
	for _, row := range wechatuser.Endpoints() {
		urls[row.API] = row.DocURL
	}
	for _, call := range testutil.APICalls {
		name, _, _ := strings.Cut(call.Name, "/")
		request := call.Method + " " + call.Path
		assert.Contains(t, docs[name], call.API+", "+request, name)
		if !call.IsTokenCall() {
			assert.Contains(t, docs[name], call.API+", "+request+", "+urls[call.API], name)
		}
		line := regexp.QuoteMeta(name)
		if call.Legacy {
			line = "with WithLegacyToken"
		}
		assert.Regexp(t, `(?m)^\t.*\b`+line+`\b.* `+call.Method+` +`+regexp.QuoteMeta(call.Path)+`$`, packageDoc)
	}
}
