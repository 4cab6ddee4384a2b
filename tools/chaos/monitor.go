package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/backoff"
)

// monitor counts calls and faults, and searches logs and errors for secrets.
type monitor struct {
	mu       sync.Mutex
	secrets  []string
	lastCall uint64
	open     map[uint64]*openCall

	calls, failed, retries          int // without token requests
	tokensFetched, tokenFetchFailed int
	faults                          []faultCount
	late                            int // requests of job runs that had ended
	lines, leaks                    int
}

// openCall is a call in progress.
type openCall struct {
	id     uint64
	faults []int // indexes into faults
}

type faultCount struct {
	injected  int
	applied   int // of these, the account had carried out the request
	recovered int // of these, the call succeeded in the end
}

func newMonitor() *monitor {
	return &monitor{open: make(map[uint64]*openCall), faults: make([]faultCount, len(faults))}
}

type (
	callKey struct{}
	runKey  struct{}
)

// intercept is the client's interceptor.
func (m *monitor) intercept(
	ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
) (wechatuser.Result, error) {
	m.mu.Lock()
	m.lastCall++
	open := &openCall{id: m.lastCall}
	m.open[open.id] = open
	m.mu.Unlock()

	res, err := next(context.WithValue(ctx, callKey{}, open))

	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, open.id)
	succeeded := err == nil || isRejectedOpenID(err)
	if succeeded {
		for _, i := range open.faults {
			m.faults[i].recovered++
		}
	}
	switch {
	case isTokenPath(call.Path) && succeeded:
		m.tokensFetched++
	case isTokenPath(call.Path):
		m.tokenFetchFailed++
	default:
		m.calls++
		m.retries += max(0, res.Attempts-1)
		if !succeeded {
			m.failed++
		}
	}
	return res, err
}

// waitIdle waits until no call is in progress: a token fetch can outlast the call that started it.
func (m *monitor) waitIdle(ctx context.Context) error {
	for {
		m.mu.Lock()
		n := len(m.open)
		m.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := backoff.Sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%w: %d calls are still in progress", err, n)
		}
	}
}

// isRejectedOpenID reports whether the account rightly rejected a call because of an openid in it.
func isRejectedOpenID(err error) bool {
	var apiErr *wechatuser.Error
	if !errors.As(err, &apiErr) {
		return false
	}
	switch apiErr.Code {
	case wechatuser.CodeInvalidOpenID, wechatuser.CodeOpenIDMismatch, wechatuser.CodeUserUnsubscribed:
		return true
	}
	return false
}

// faultInjected records a fault in a call.
func (m *monitor) faultInjected(callID uint64, index int, applied bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[index].injected++
	if applied {
		m.faults[index].applied++
	}
	if open := m.open[callID]; open != nil {
		open.faults = append(open.faults, index)
	}
}

func (m *monitor) lateRequest() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late++
}

// addToken adds the token in a response of the account to the secrets, if there is one.
func (m *monitor) addToken(path string, body []byte) {
	if !isTokenPath(path) {
		return
	}
	var in struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(body, &in) == nil && in.AccessToken != "" {
		m.addSecret(in.AccessToken)
	}
}

func (m *monitor) addSecret(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secrets = append(m.secrets, s)
}

// Write searches a text, such as a line of the client's log, for secrets.
func (m *monitor) Write(text []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines++
	for _, secret := range m.secrets {
		if strings.Contains(string(text), secret) {
			m.leaks++
			break
		}
	}
	return len(text), nil
}

// markedTransport adds headers that tell the gateway which call and which job run a request belongs to.
type markedTransport struct{ base *http.Transport }

func (t markedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if open, ok := r.Context().Value(callKey{}).(*openCall); ok {
		r.Header.Set(callHeader, strconv.FormatUint(open.id, 10))
	}
	// A token request carries the context values of the call that started it, but serves all calls.
	if run, ok := r.Context().Value(runKey{}).(*jobRun); ok && run != nil && !isTokenPath(r.URL.Path) {
		r.Header.Set(runHeader, strconv.FormatUint(run.id, 10))
		run.sent.Add(1)
	}
	return t.base.RoundTrip(r)
}

// CloseIdleConnections closes the connections that are not in use.
func (t markedTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }
