package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
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

	calls, failed, retries int // without token requests
	tokenFetchFailed       int
	tokensFetched          [kindCount]int
	revokedUnused          [kindCount]int // tokens that were revoked before the client had them
	faults                 []faultCount
	late                   int // requests of job runs that had ended
	lines, leaks           int
}

// openCall is a call in progress.
type openCall struct {
	id      uint64
	faults  []int    // indexes into faults
	openIDs []string // of a write
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
	if run, ok := ctx.Value(runKey{}).(*jobRun); ok && run != nil {
		run.addDone(open.openIDs, failedOpenIDs(open.openIDs, err))
	}
	succeeded := err == nil || isRejectedOpenID(err)
	if succeeded {
		for _, i := range open.faults {
			m.faults[i].recovered++
		}
	}
	switch {
	case isTokenPath(call.Path) && succeeded:
		m.tokensFetched[slices.Index(tokenPaths[:], call.Path)]++
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

// failedOpenIDs returns those of the openids of a call that may not be done.
func failedOpenIDs(openIDs []string, err error) []string {
	var apiErr *wechatuser.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &apiErr) && apiErr.Code == wechatuser.CodeSomeOpenIDsFailed && len(apiErr.FailedOpenIDs) > 0 &&
		!errors.Is(err, wechatuser.ErrAmbiguous):
		return apiErr.FailedOpenIDs
	}
	return openIDs
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

func (m *monitor) tokenRevokedUnused(kind int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revokedUnused[kind]++
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
type markedTransport struct {
	base        *http.Transport
	connections *connections
}

func (t markedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	open, ok := ctx.Value(callKey{}).(*openCall)
	if !ok {
		open = new(openCall) // a token request that was sent without the interceptor
	}
	r = r.Clone(t.connections.watch(ctx, open.id))
	r.Header.Set(callHeader, strconv.FormatUint(open.id, 10))
	// A token request carries the context values of the call that started it, but serves all calls.
	if run, ok := ctx.Value(runKey{}).(*jobRun); ok && run != nil && !isTokenPath(r.URL.Path) {
		r.Header.Set(runHeader, strconv.FormatUint(run.id, 10))
		run.sent.Add(1)
		if open.openIDs == nil { // a later attempt may be for some of them only
			open.openIDs = openIDsOf(r)
		}
	}
	return t.base.RoundTrip(r)
}

// openIDsOf returns the openids in the body of a request.
func openIDsOf(r *http.Request) []string {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil
	}
	var in struct {
		OpenIDs []string `json:"openid_list"`
	}
	_ = json.NewDecoder(body).Decode(&in)
	return in.OpenIDs
}

// CloseIdleConnections closes the connections that are not in use.
func (t markedTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }
