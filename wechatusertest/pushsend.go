package wechatusertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxReply      = 64 << 10
	pushUserAgent = "Mozilla/4.0"
	pushSource    = "198.51.100.7:40000" // one of the addresses that getcallbackip returns
)

var (
	errPushTimeout    = fmt.Errorf("no response within %v", pushTimeout)
	errNoPushResponse = errors.New("no response")
	errLongReply      = fmt.Errorf("the response is longer than %d KiB", maxReply>>10)
	errPlainReply     = errors.New("the reply is not encrypted, which PushSafe mode requires")
	errReplySignature = errors.New("the reply has a wrong MsgSignature")
)

// pushRequest sends requests to the URL or the handler of an account.
type pushRequest struct {
	target   *pushTarget
	appID    string
	key      []byte // nil in plain mode
	handlers *sync.WaitGroup
}

// post sends an event once. It returns the HTTP status, 0 if there was no response, and the reply.
func (r *pushRequest) post(ctx context.Context, e *pushEvent, now time.Time, random *rand.Rand) (
	status int, reply string, err error,
) {
	t := r.target
	body, timestamp, nonce := pushXML(t.OriginalID, e), unixText(now), newNonce(random)
	query := t.signed(timestamp, nonce) + "&openid=" + url.QueryEscape(e.from())
	if r.key != nil {
		encrypted := encryptPush(r.key, random16(random), body, r.appID)
		query += "&encrypt_type=aes&msg_signature=" + pushSignature(t.Token, timestamp, nonce, encrypted)
		body = envelope(t.OriginalID, body, encrypted, t.Mode == PushCompatible)
	}
	status, text, err := r.send(ctx, http.MethodPost, query, body)
	if err == nil {
		reply, err = r.check(status, text)
	}
	return status, reply, err
}

// signed returns a query with a signature.
func (t *pushTarget) signed(timestamp, nonce string) string {
	return "signature=" + pushSignature(t.Token, timestamp, nonce) + "&timestamp=" + timestamp + "&nonce=" + nonce
}

func newNonce(random *rand.Rand) string { return strconv.FormatUint(uint64(random.Uint32()), 10) }

func random16(random *rand.Rand) (b [randomPrefix]byte) {
	binary.LittleEndian.PutUint64(b[:], random.Uint64())
	binary.LittleEndian.PutUint64(b[8:], random.Uint64())
	return b
}

// check returns the reply in a response, or an error if the platform would not accept the response.
func (r *pushRequest) check(status int, body string) (reply string, err error) {
	if status < 200 || status > 299 {
		return "", fmt.Errorf("HTTP status %d", status)
	}
	if body == "" || body == "success" {
		return "", nil
	}
	parsed, err := parseReply(body)
	if err != nil {
		return "", err
	}
	if r.key != nil && parsed.Encrypt != "" {
		signature := pushSignature(r.target.Token, parsed.TimeStamp, parsed.Nonce, parsed.Encrypt)
		if signature != parsed.MsgSignature {
			return "", errReplySignature
		}
		if body, err = decryptReply(r.key, parsed.Encrypt, r.appID); err != nil {
			return "", err
		}
		if parsed, err = parseReply(body); err != nil {
			return "", err
		}
	} else if r.target.Mode == PushSafe {
		return "", errPlainReply
	}
	if parsed.MsgType == "" {
		return "", errNotAReply
	}
	return body, nil
}

// send sends a request and returns the status and the body of the response.
func (r *pushRequest) send(ctx context.Context, method, query string, body []byte) (int, string, error) {
	u := *r.target.url
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, "", errNoPushResponse // newPushTarget has checked the URL
	}
	req.Header.Set("User-Agent", pushUserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Pragma", "no-cache")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "text/xml")
	}
	if r.target.Handler != nil {
		return r.serve(ctx, req)
	}
	resp, err := r.target.client.Do(req)
	if err != nil {
		return 0, "", withoutURL(err, query)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return 0, "", withoutURL(err, query)
	case len(text) > maxReply:
		return resp.StatusCode, "", errLongReply
	}
	return resp.StatusCode, string(text), nil
}

// withoutURL returns the error of a failed request without the URL, which has a signature and perhaps a secret. The
// error of an HTTP client begins with the URL, and that of a transport may quote it or have the request in it.
func withoutURL(err error, query string) error {
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			return ended
		}
	}
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	text := err.Error()
	plain, _ := url.QueryUnescape(query) // the query comes from a URL, so there is no error
	for part := range strings.SplitSeq(query+"&"+plain, "&") {
		if _, value, _ := strings.Cut(part, "="); value != "" && strings.Contains(text, value) {
			return errNoPushResponse
		}
	}
	return errors.New(text)
}

// serve calls the handler. Like a client it does not wait longer than ctx.
func (r *pushRequest) serve(ctx context.Context, req *http.Request) (int, string, error) {
	req.RequestURI, req.RemoteAddr = req.URL.RequestURI(), pushSource
	w := &responseBuffer{header: make(http.Header)}
	done := make(chan error, 1)
	r.handlers.Add(1)
	go func() {
		defer r.handlers.Done()
		err := errNoPushResponse // if the handler calls runtime.Goexit, as a failed test does
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				err = fmt.Errorf("the handler panicked: %v", p)
			}
			done <- err
		}()
		r.target.Handler.ServeHTTP(w, req)
		err = nil
	}()
	select {
	case err := <-done:
		if err == nil && len(w.body) > maxReply {
			err = errLongReply
		}
		if err != nil {
			return 0, "", err
		}
		return max(w.status, http.StatusOK), string(w.body), nil
	case <-ctx.Done():
		return 0, "", ctx.Err()
	}
}

// responseBuffer records the response of a handler, and at most one byte of the body more than a reply may have.
type responseBuffer struct {
	header http.Header
	status int
	body   []byte
}

// Header implements [http.ResponseWriter].
func (w *responseBuffer) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *responseBuffer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

// Write implements [http.ResponseWriter].
func (w *responseBuffer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, p[:min(len(p), maxReply+1-len(w.body))]...)
	return len(p), nil
}

// VerifyPushURL verifies the URL of pushes, as the platform's console does before it saves the settings: it sends a
// signed GET request with an echostr. It returns an error if the body of the response is not the echostr, or if there
// is no response within five seconds. It panics without [WithPushes].
//
// https://developers.weixin.qq.com/doc/oplatform/developers/dev/push
func (s *Server) VerifyPushURL(ctx context.Context) error {
	t, now, random := s.verification()
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	defer t.closeIdle()
	r := &pushRequest{target: t, appID: s.AppID, handlers: &s.handlers}
	echo := strconv.FormatUint(random.Uint64(), 10)
	query := t.signed(unixText(now), newNonce(random)) + "&echostr=" + echo
	status, body, err := r.send(ctx, http.MethodGet, query, nil)
	switch {
	case err == nil && (status < 200 || status > 299):
		err = fmt.Errorf("HTTP status %d", status)
	case err == nil && body != echo:
		err = errors.New("the response is not the echostr")
	}
	if err != nil {
		return fmt.Errorf("wechatusertest: VerifyPushURL: %w", err)
	}
	return nil
}

// verification returns what VerifyPushURL needs from the account.
func (s *Server) verification() (*pushTarget, time.Time, *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mustPush("VerifyPushURL"), s.now(), s.rngOf(hashOf("VerifyPushURL")).stream("verify")
}
