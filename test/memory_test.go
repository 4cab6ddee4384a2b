package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// bodies is a transport with a content length and a body for each request.
type bodies func(*http.Request) (contentLength int64, body io.Reader)

func (f bodies) RoundTrip(req *http.Request) (*http.Response, error) {
	n, body := f(req)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: req, ContentLength: n, Body: io.NopCloser(body),
	}, nil
}

// Whatever the outcome of a call, no part of its response is in the memory that the next response is read into.
func TestResultsDoNotShareMemory(t *testing.T) {
	const (
		callers = 8
		rounds  = 40
	)
	errCut := errors.New("cut")
	c := testutil.NewClient(t, bodies(func(req *http.Request) (int64, io.Reader) {
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
	}), testutil.NoRetry)
	type outcome struct {
		id   string
		page *wechatuser.OpenIDPage
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
				assert.Equal(t,
					&wechatuser.OpenIDPage{
						Total: 2, Count: 2, OpenIDs: []string{o.id + "-a", o.id + "-b"}, NextOpenID: o.id + "-b",
					}, o.page)
			case '2':
				var e *wechatuser.Error
				require.ErrorAs(t, o.err, &e)
				assert.Equal(t, "invalid openid "+o.id, e.Message)
			default:
				var e *wechatuser.ResponseError
				require.ErrorAs(t, o.err, &e)
				assert.Contains(t, e.Snippet, o.id)
			}
		}
	}
}

// A transport may panic, end its goroutine, and go on using a request to which it has responded. So may a body.
func TestTransportsThatMisbehave(t *testing.T) {
	const outcomes = 7
	var left sync.WaitGroup
	defer left.Wait()
	c := testutil.NewClient(t, bodies(func(req *http.Request) (int64, io.Reader) {
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
			return -1, io.MultiReader(html, failingBody(func() { panic("body") }))
		case "3":
			return -1, io.MultiReader(html, failingBody(runtime.Goexit))
		case "4":
			return -1, html
		default:
			return -1, strings.NewReader(fmt.Sprintf(`{"errcode":40003,"errmsg":"no %s."}`, in.OpenID))
		}
	}), testutil.NoRetry)
	var wg sync.WaitGroup
	for i := range 40 * outcomes {
		wg.Go(func() {
			defer func() { _ = recover() }()
			id := fmt.Sprintf("oFAKE%d", i)
			err := c.UpdateRemark(t.Context(), id, fmt.Sprint(i%outcomes))
			switch i % outcomes {
			case 0, 1, 2, 3:
				t.Error("the call returned")
			case 4:
				var e *wechatuser.ResponseError
				if assert.ErrorAs(t, err, &e) {
					assert.Equal(t, "<html>"+id, e.Snippet)
				}
			default:
				var e *wechatuser.Error
				if assert.ErrorAs(t, err, &e) {
					assert.Equal(t, "no "+id+".", e.Message)
				}
			}
		})
	}
	wg.Wait()
}

// failingBody is a body whose Read does something else than reading.
type failingBody func()

func (f failingBody) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func TestReadingATokenTakesNoMemory(t *testing.T) {
	c, err := wechatuser.New("wxFAKE", "FAKE-secret",
		wechatuser.WithTransport(bodies(func(*http.Request) (int64, io.Reader) {
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

func TestAllocationsOfACall(t *testing.T) {
	if testutil.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	body := `{"subscribe":1,"openid":"oFAKE","language":"zh_CN","subscribe_time":1700000000,"tagid_list":[128,2]}`
	c := testutil.NewClient(t, bodies(func(*http.Request) (int64, io.Reader) {
		return int64(len(body)), strings.NewReader(body)
	}))
	ctx := t.Context()
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := c.GetUserInfo(ctx, "oFAKE"); err != nil {
			t.Error(err)
		}
	})
	assert.LessOrEqual(t, allocs, 36.0)
}
