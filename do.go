package wechatuser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// Request is a call of any endpoint of the platform, for [Client.Do].
type Request struct {
	// API names the call in errors, logs and metrics. Defaults to Path.
	API string
	// Method is GET or POST. Defaults to POST with a Body, and to GET without.
	Method string
	// Path is the path of the endpoint, such as "/cgi-bin/qrcode/create", without host and query.
	Path string
	// Query has the query parameters. The client adds the access token.
	Query url.Values
	// Body is sent as JSON, as encoding/json encodes it, but without \u escapes, which the platform does not accept.
	// Nil for none. Forms and uploads of files are not supported.
	Body any
	// Idempotent says that sending the request twice has the same effect as once. Without it, the call is not retried
	// after an attempt whose outcome is unknown, and its error then matches [ErrAmbiguous]. This holds for GET too,
	// because some calls that only read have a small quota.
	Idempotent bool
	// TokenParam is the name of the query parameter with the access token. Defaults to access_token; the APIs of a
	// third-party platform (第三方平台) take component_access_token.
	TokenParam string
	// WithoutToken sends the request without an access token, for an API whose body has a credential of its own.
	WithoutToken bool
	// Secrets are texts of Query and Body that no error may show, such as a refresh token. If there are some, errors show
	// only the errcode, errmsg and rid of a response, because its body may contain new secrets.
	Secrets []string
}

// String returns the method and the path, because Query and Body may contain secrets.
func (r Request) String() string {
	ep := r.endpoint()
	return fmt.Sprintf("wechatuser.Request(%s %s)", ep.method, ep.path)
}

// Format writes String, whatever the verb, so that none shows a secret.
func (r Request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue returns String.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Do calls any endpoint of the platform with this client's access token. The call is made like all others: a rejected
// token is refreshed, and retries, limiter, interceptors, hosts, logs and errors are the same.
//
// out receives the response. It is a pointer to a struct, a map or any other type that encoding/json can decode the
// response into; a *json.RawMessage for the JSON itself; a *[]byte for the body itself, such as an image; or nil, and
// then the response must be a JSON object. A call that succeeds replaces the value of out, and a call that fails does
// not change it.
//
// A JSON object with an errcode other than 0 is an [*Error], whatever out is. Other errors are those of all calls. A
// response that does not fit out is a [*ResponseError] and is not retried. A wrong request, a nil context and an out
// that is not a pointer are an [*ArgumentError]. So are endpoints that take no access token: use [Client.Token],
// [Client.RefreshToken] and [Client.ClearQuotaByAppSecret].
func (c *Client) Do(ctx context.Context, req Request, out any) error {
	ep := req.endpoint()
	if err := req.check(ep); err != nil {
		return err
	}
	if err := checkOut(ep, out); err != nil {
		return err
	}
	r := request{
		ep: ep, query: req.Query.Encode(), newResponse: func() response { return newAnyResponse(out) }, secrets: req.Secrets,
	}
	if req.Body != nil {
		body, err := wire.Marshal(req.Body)
		if err != nil {
			return ep.argumentError("Body", "%v", err)
		}
		r.body = body
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	resp.(*anyResponse).assign(out)
	return nil
}

// endpoint returns the row that the endpoint would have in the table.
func (r *Request) endpoint() *endpoint {
	ep := &endpoint{
		api: r.API, method: r.Method, path: r.Path, write: !r.Idempotent, retry: retryNever,
		noAuth: r.WithoutToken, tokenParam: r.TokenParam,
	}
	if ep.api == "" {
		ep.api = r.Path
	}
	if ep.method == "" {
		ep.method = http.MethodGet
		if r.Body != nil {
			ep.method = http.MethodPost
		}
	}
	if r.Idempotent {
		ep.retry = retryAsIs
	}
	return ep
}

// plainPath matches a path of segments without a character that needs escaping.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_.-]+)+$`)

// check returns an [*ArgumentError] for a request that must not be sent.
func (r *Request) check(ep *endpoint) error {
	switch {
	case !plainPath.MatchString(r.Path) || hasDotSegment(r.Path):
		// ep.api may be this very path.
		return argumentError("Do", "Path",
			"%q is not the path of an API: it has a leading slash and neither host nor query, such as %q",
			r.Path, endpoints[getFans].path)
	case namesToken(r.Path):
		return argumentError("Do", "Path", "%q does not take the account's access token", r.Path)
	case !isWord(ep.api):
		return argumentError("Do", "API", "%q is not a name: it contains a space or a control character", r.API)
	case ep.method != http.MethodGet && ep.method != http.MethodPost:
		return ep.argumentError("Method", "%q: it must be GET or POST", r.Method)
	case ep.method == http.MethodGet && r.Body != nil:
		return ep.argumentError("Body", "a GET has no body: leave out Method, or pass POST")
	case r.TokenParam != "" && (r.WithoutToken || !namesToken(r.TokenParam) || !plainName.MatchString(r.TokenParam)):
		return ep.argumentError("TokenParam", "%q: it is the name of the parameter with the token, such as "+
			"component_access_token, and empty with WithoutToken", r.TokenParam)
	}
	for _, row := range &endpoints {
		if !row.noAuth {
			continue
		}
		if strings.EqualFold(r.Path, row.path) {
			return ep.argumentError("Path",
				"%s takes no access token: use Token, RefreshToken or ClearQuotaByAppSecret", row.path)
		}
		if strings.EqualFold(ep.api, row.api) {
			return ep.argumentError("API",
				"%s is the name of another call: errors would look like those of that call", row.api)
		}
	}
	for key := range r.Query {
		if namesToken(key) {
			return ep.argumentError("Query", "%q: leave it out, the client adds the access token", key)
		}
	}
	return nil
}

// plainName matches the name of a query parameter.
var plainName = regexp.MustCompile(`^[a-z_]+$`)

func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// namesToken reports whether a text names an access token, in any spelling.
func namesToken(s string) bool {
	letters := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return -1
		}
	}, s)
	return strings.Contains(letters, "accesstoken")
}

// checkOut rejects what a response cannot be decoded into.
func checkOut(ep *endpoint, out any) error {
	if out == nil {
		return nil
	}
	v := reflect.ValueOf(out)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return ep.argumentError("out", "%T: pass a pointer that is not nil, or nil to ignore the response", out)
	}
	switch elem := v.Type().Elem(); elem.Kind() {
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return ep.argumentError("out", "%T: JSON cannot be decoded into %s", out, elem)
	default:
		return nil
	}
}

// anyResponse is the response to a request of [Client.Do]. It decodes into a value of its own, since interceptors may
// run a call twice at the same time.
type anyResponse struct {
	envelope wire.Envelope
	value    reflect.Value // a pointer, of the type of out; invalid if there is no out
}

func newAnyResponse(out any) *anyResponse {
	if out == nil {
		return new(anyResponse)
	}
	return &anyResponse{value: reflect.New(reflect.TypeOf(out).Elem())}
}

func (r *anyResponse) ResponseEnvelope() *wire.Envelope { return &r.envelope }

func (*anyResponse) missingField() string { return "" }

// takeBody implements wholeResponse.
func (r *anyResponse) takeBody(body []byte) error {
	if !r.value.IsValid() {
		err := wire.UnmarshalAny(body, new(map[string]json.RawMessage))
		if fit := (*wire.FitError)(nil); errors.As(err, &fit) {
			fit.Err = errNoObject
		}
		return err
	}
	raw, ok := r.value.Interface().(*[]byte)
	if !ok {
		return wire.UnmarshalAny(body, r.value.Interface())
	}
	if len(body) == 0 {
		return errNoBody
	}
	*raw = bytes.Clone(body)
	return nil
}

var (
	errNoObject = errors.New("it is not a JSON object")
	errNoBody   = errors.New("the body is empty")
)

func (r *anyResponse) assign(out any) {
	if r.value.IsValid() {
		reflect.ValueOf(out).Elem().Set(r.value.Elem())
	}
}
