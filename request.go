package wechatuser

import (
	"net/url"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/internal/redact"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// request is one API call on its way through the pipeline.
type request struct {
	ep    *endpoint
	query string // escaped, without the token and param
	// param is the name of a query parameter, and value its value, not escaped; empty for none.
	param, value string
	body         []byte
	// newResponse returns the value that a response is decoded into.
	newResponse func() response
	// openIDs are the openids in the body, and bodyFor returns the body for some of them. Both are nil if the platform
	// processes all openids of a call or none.
	openIDs []string
	bodyFor func(openIDs []string) ([]byte, error)
	// check returns what is wrong with a response that was decoded; nil for no check. body is the response's, and
	// subject what was asked for, if check needs it.
	check   func(subject string, resp response, body []byte) error
	subject string
	// items is the number of openids that the caller will ask for in parts if the response is broken; 0 if it will not.
	items int
	// beforeSend is called before each attempt and can forbid it; nil for none.
	beforeSend func() error
	// secret is the app secret in the request, to be redacted in its errors; empty if there is none.
	secret string
	// secrets are other texts to redact. If there are some, an error shows nothing of a response's body.
	secrets []string
	// job is the state of the job that makes the call; nil for none.
	job *jobState
	// received is called with each response of the platform that is a success; nil for none.
	received func(r response, sentAt time.Time)
}

// url returns the URL of the request. auth and value are the query parameter that authorizes it, such as the access
// token; auth is empty for none.
func (r *request) url(base, auth, value string) string {
	value, own := url.QueryEscape(value), url.QueryEscape(r.value)
	var b strings.Builder
	b.Grow(len(base) + len(r.ep.path) + len("?=&=&") + len(auth) + len(value) + len(r.param) + len(own) + len(r.query))
	b.WriteString(base)
	b.WriteString(r.ep.path)
	separator := byte('?')
	add := func(text ...string) {
		if text[0] == "" {
			return
		}
		b.WriteByte(separator)
		separator = '&'
		for _, t := range text {
			b.WriteString(t)
		}
	}
	add(auth, "=", value)
	add(r.param, "=", own)
	add(r.query)
	return b.String()
}

// response is a response type: the payload of an endpoint, with wire.Envelope embedded.
type response interface {
	ResponseEnvelope() *wire.Envelope
	// missingField names the field that a success must have, if it is missing or empty.
	missingField() string
}

// wholeResponse is a response type that takes a body of any form. Whatever it takes, a JSON object with an errcode other
// than 0 is an error.
type wholeResponse interface {
	response
	// takeBody decodes the body. It fails with a [*wire.FitError] if another attempt would fail in the same way.
	takeBody(body []byte) error
}

// redactable is a response with texts that can show a secret.
type redactable interface {
	redact(secrets redact.Redactor)
}

// okResponse is the response of a write.
type okResponse struct{ wire.Envelope }

func (r *okResponse) missingField() string {
	_, ok := r.Code()
	return missingIf("errcode", !ok)
}

// pageResponse is the response of the three lists of openids.
type pageResponse struct {
	wire.Envelope
	Total *int `json:"total"`
	Count *int `json:"count"`
	Data  struct {
		OpenIDs []string `json:"openid"`
	} `json:"data"`
	NextOpenID *string `json:"next_openid"`
}

func (r *pageResponse) missingField() string {
	if valueOrZero(r.Count) > 0 && len(r.Data.OpenIDs) == 0 {
		return "data, though its count is not 0"
	}
	return missingIf("count", r.Count == nil && r.Total == nil && r.Data.OpenIDs == nil && r.NextOpenID == nil)
}

func (r *pageResponse) page() *OpenIDPage {
	return &OpenIDPage{
		Total: valueOrZero(r.Total), Count: valueOrZero(r.Count), OpenIDs: r.Data.OpenIDs, NextOpenID: valueOrZero(r.NextOpenID),
	}
}

// spares are results whose memory can be used again. A nil spares has none.
type spares[R any] chan []R

func (s spares[R]) put(results []R) {
	select {
	case s <- results:
	default:
	}
}

func (s spares[R]) take() []R {
	select {
	case results := <-s:
		return results[:0]
	default:
		return nil
	}
}

func missingIf(field string, missing bool) string {
	if missing {
		return field
	}
	return ""
}

func valueOrZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
