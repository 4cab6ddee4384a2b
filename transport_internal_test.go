package wechatuser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// underRaceDetector is true where the race detector is at work.
var underRaceDetector bool

// answering is a transport that answers with what it is told to.
type answering func(*http.Request) (contentLength int64, body io.Reader)

func (f answering) RoundTrip(req *http.Request) (*http.Response, error) {
	n, body := f(req)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req, ContentLength: n, Body: io.NopCloser(body)}, nil
}

func clientOf(t testing.TB, rt http.RoundTripper) *Client {
	t.Helper()
	c, err := New("wxFAKE", "FAKE-secret", WithTransport(rt), WithRetry(RetryPolicy{MaxAttempts: 1}),
		WithTokenSource(StaticTokenSource("FAKE-token")))
	require.NoError(t, err)
	return c
}

func TestContentLengthIsOnlyAHint(t *testing.T) {
	const body = `{"tags":[{"id":100,"name":"vip","count":1}]}`
	for _, n := range []int64{math.MinInt64, -1, 0, 1, int64(len(body)), maxKept, maxBody + 1, math.MaxInt64 - 1, math.MaxInt64} {
		c := clientOf(t, answering(func(*http.Request) (int64, io.Reader) { return n, iotest.OneByteReader(strings.NewReader(body)) }))
		tags, err := c.GetTags(t.Context())
		require.NoError(t, err, n)
		assert.Equal(t, []Tag{{ID: 100, Name: "vip", Count: 1}}, tags, n)

		b := new(bodyBuffer)
		_, err = b.read(&http.Response{ContentLength: n, Body: io.NopCloser(strings.NewReader(body))})
		require.NoError(t, err)
		assert.LessOrEqual(t, b.Cap(), maxKept, "%d: memory for what has not come", n)
	}
}

// The memory of a large answer is not kept, and that of others is.
func TestBuffersThatAreKept(t *testing.T) {
	bodyBuffers.New = func() any { return nil }
	defer func() { bodyBuffers.New = newBodyBuffer }()
	for size, kept := range map[int]bool{100: true, 320 << 10: true, maxKept / 2: true, 2 * maxKept: false, maxBody: false} {
		found, body := false, strings.Repeat("x", size)
		for range 10 { // a pool may forget
			for bodyBuffers.Get() != nil { // until it is empty
			}
			ex := exchange{buf: new(bodyBuffer)}
			_, err := ex.buf.read(&http.Response{ContentLength: int64(size), Body: io.NopCloser(strings.NewReader(body))})
			require.NoError(t, err)
			ex.release()
			if found = bodyBuffers.Get() != nil; found {
				break
			}
		}
		assert.Equal(t, kept, found, "%d bytes", size)
	}
}

// Whatever comes of a call, nothing of it is in the memory in which the next answer is read.
func TestResultsDoNotShareMemory(t *testing.T) {
	const (
		callers = 8
		rounds  = 40
	)
	errCut := errors.New("cut")
	c := clientOf(t, answering(func(req *http.Request) (int64, io.Reader) {
		id := req.URL.Query().Get("next_openid")
		page := fmt.Sprintf(`{"total":2,"count":2,"data":{"openid":["%s-a","%s-b"]},"next_openid":"%s-b"}`, id, id, id)
		switch id[0] {
		case '0': // plain
		case '1':
			page = strings.Replace(page, "-a", `-\u0061`, 1)
		case '2':
			page = fmt.Sprintf(`{"errcode":40003,"errmsg":"invalid openid %s"}`, id)
		case '3':
			page = "<html>" + id + "</html>"
		case '4':
			page = fmt.Sprintf(`{"total":"%s"}`, id)
		case '5':
			return -1, io.MultiReader(strings.NewReader("<html>"+id), iotest.ErrReader(errCut))
		}
		return int64(len(page)), strings.NewReader(page)
	}))
	type outcome struct {
		id   string
		page *OpenIDPage
		err  error
	}
	outcomes := make([][]outcome, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for round := range rounds {
				id := fmt.Sprintf("%d-caller-%d-round-%d", (i+round)%6, i, round)
				page, err := c.GetFans(t.Context(), id)
				outcomes[i] = append(outcomes[i], outcome{id, page, err})
			}
		})
	}
	wg.Wait()
	for _, o := range outcomes {
		for _, o := range o {
			switch o.id[0] {
			case '0', '1':
				require.NoError(t, o.err)
				assert.Equal(t, &OpenIDPage{Total: 2, Count: 2, OpenIDs: []string{o.id + "-a", o.id + "-b"}, NextOpenID: o.id + "-b"}, o.page)
			case '2':
				var e *Error
				require.ErrorAs(t, o.err, &e)
				assert.Equal(t, "invalid openid "+o.id, e.Message)
			default:
				var e *ResponseError
				require.ErrorAs(t, o.err, &e)
				assert.Contains(t, e.Snippet, o.id)
			}
		}
	}
}

// A call that its caller has left gives its memory back only when nobody writes there any more.
func TestBufferOfACallThatWasLeft(t *testing.T) {
	c := clientOf(t, answering(func(req *http.Request) (int64, io.Reader) {
		if req.URL.Query().Get("next_openid") == "" {
			return int64(len(`{"total":0}`)), strings.NewReader(`{"total":0}`)
		}
		return 1 << 10, untilEnd{req.Context()}
	}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, err := c.GetFans(ctx, "oFAKE")
				cancel()
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				page, err := c.GetFans(t.Context(), "")
				assert.NoError(t, err)
				assert.Equal(t, &OpenIDPage{}, page)
			}
		})
	}
	wg.Wait()
}

// untilEnd is a body that comes byte by byte until the context ends.
type untilEnd struct{ ctx context.Context }

func (r untilEnd) Read(p []byte) (int, error) {
	p[0] = '<'
	return 1, r.ctx.Err()
}

// The headers are shared by all requests, and a request of resty's is used again.
func TestWhatRequestsShare(t *testing.T) {
	c := clientOf(t, answering(func(req *http.Request) (int64, io.Reader) {
		assert.Equal(t, http.Header{"Accept": {"application/json"}, "User-Agent": {"wechatuser/" + Version}, "Content-Type": {"application/json"}}, req.Header)
		req.Header.Set("X-Other", "1") // as an old transport would
		return -1, strings.NewReader(`{"errcode":0,"errmsg":"ok"}`)
	}))
	var made []*resty.Request
	fresh := c.sender.requests.New
	c.sender.requests.New = func() any {
		made = append(made, fresh().(*resty.Request))
		return made[len(made)-1]
	}
	for range 3 {
		require.NoError(t, c.UpdateRemark(t.Context(), "oFAKE", "r"))
	}
	assert.Equal(t, http.Header{"Accept": {"application/json"}, "User-Agent": {"wechatuser/" + Version}}, c.sender.header)

	require.NotEmpty(t, made)
	for _, req := range made {
		assert.Equal(t, fresh(), req, "there is a token in the URL of one that was sent")
		assert.Empty(t, req.URL)
		assert.Empty(t, req.QueryParam)
	}
}

// A transport can panic, end the goroutine, and go on using a request that it has answered, and so can a body.
func TestTransportsThatMisbehave(t *testing.T) {
	const outcomes = 7
	var left sync.WaitGroup
	defer left.Wait()
	c := clientOf(t, answering(func(req *http.Request) (int64, io.Reader) {
		sent, err := io.ReadAll(req.Body)
		assert.NoError(t, err)
		left.Go(func() {
			req.Header["Accept"][0] = "late"
			again, err := req.GetBody() // as net/http does where a connection turns out to be closed
			if assert.NoError(t, err) {
				body, _ := io.ReadAll(again)
				assert.Equal(t, sent, body)
			}
		})
		var in struct{ OpenID, Remark string }
		assert.NoError(t, json.Unmarshal(sent, &in))
		html := strings.NewReader("<html>" + in.OpenID)
		switch in.Remark {
		case "0":
			panic("transport")
		case "1":
			runtime.Goexit()
			return 0, nil
		case "2":
			return -1, io.MultiReader(html, reads(func() { panic("body") }))
		case "3":
			return -1, io.MultiReader(html, reads(runtime.Goexit))
		case "4":
			return -1, html
		default:
			return -1, strings.NewReader(fmt.Sprintf(`{"errcode":40003,"errmsg":"no %s."}`, in.OpenID))
		}
	}))
	var wg sync.WaitGroup
	for i := range 40 * outcomes {
		wg.Go(func() {
			defer func() { _ = recover() }()
			id := fmt.Sprintf("oFAKE%d", i)
			err := c.UpdateRemark(t.Context(), id, fmt.Sprint(i%outcomes))
			switch i % outcomes {
			case 0, 1, 2, 3:
				t.Error("the call has returned")
			case 4:
				var e *ResponseError
				if assert.ErrorAs(t, err, &e) {
					assert.Equal(t, "<html>"+id, e.Snippet)
				}
			default:
				var e *Error
				if assert.ErrorAs(t, err, &e) {
					assert.Equal(t, "no "+id+".", e.Message)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, "application/json", c.sender.bodyHeader.Get("Accept"))
}

// reads is a body of which nothing can be read.
type reads func()

func (f reads) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func TestReadingATokenTakesNoMemory(t *testing.T) {
	c, err := New("wxFAKE", "FAKE-secret", WithTransport(answering(func(*http.Request) (int64, io.Reader) {
		return -1, strings.NewReader(`{"access_token":"FAKE-token","expires_in":7200}`)
	})))
	require.NoError(t, err)
	_, err = c.Token(t.Context())
	require.NoError(t, err)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := c.Token(ctx); err != nil {
			t.Error(err)
		}
	}))
}

// What a call allocates, without net/http's transport.
func TestAllocationsOfACall(t *testing.T) {
	if underRaceDetector {
		t.Skip("the race detector allocates")
	}
	body := `{"subscribe":1,"openid":"oFAKE","language":"zh_CN","subscribe_time":1700000000,"tagid_list":[128,2]}`
	c := clientOf(t, answering(func(*http.Request) (int64, io.Reader) { return int64(len(body)), strings.NewReader(body) }))
	ctx := t.Context()
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := c.GetUserInfo(ctx, "oFAKE"); err != nil {
			t.Error(err)
		}
	})
	assert.LessOrEqual(t, allocs, 36.0)
}
