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
)

// watch counts what goes on, and looks for secrets where none should be.
type watch struct {
	mu       sync.Mutex
	secrets  []string
	lastCall uint64
	open     map[uint64]*callNote

	calls, failed, repeats int // those for tokens not among them
	renewals, renewFailed  int
	faults                 []faultCount
	late                   int // requests of tasks that were over
	lines, leaks           int
}

// callNote is a call that is under way.
type callNote struct {
	id     uint64
	faults []int // by index
}

type faultCount struct {
	injected   int
	carriedOut int // of these, the call had its effect all the same
	absorbed   int // of these, the call succeeded in the end
}

func newWatch() *watch {
	return &watch{open: make(map[uint64]*callNote), faults: make([]faultCount, len(faults))}
}

type (
	callKey struct{}
	taskKey struct{}
)

// intercept is the client's interceptor.
func (w *watch) intercept(ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error)) (wechatuser.Result, error) {
	w.mu.Lock()
	w.lastCall++
	note := &callNote{id: w.lastCall}
	w.open[note.id] = note
	w.mu.Unlock()

	res, err := next(context.WithValue(ctx, callKey{}, note))

	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, note.id)
	good := err == nil || isDeserved(err)
	if good {
		for _, i := range note.faults {
			w.faults[i].absorbed++
		}
	}
	switch {
	case isToken(call.Path) && good:
		w.renewals++
	case isToken(call.Path):
		w.renewFailed++
	default:
		w.calls++
		w.repeats += max(0, res.Attempts-1)
		if !good {
			w.failed++
		}
	}
	return res, err
}

// idle waits until no call is under way: the renewal of a token outlives the call that it began for.
func (w *watch) idle(ctx context.Context) error {
	for {
		w.mu.Lock()
		n := len(w.open)
		w.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%w: %d calls are still under way", err, n)
		}
	}
}

// isDeserved reports whether the account refused a call for what was wrong with it.
func isDeserved(err error) bool {
	var refusal *wechatuser.Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Code {
	case wechatuser.CodeInvalidOpenID, wechatuser.CodeOpenIDMismatch, wechatuser.CodeUserUnsubscribed:
		return true
	}
	return false
}

// injected notes a fault of a call.
func (w *watch) injected(callID uint64, index int, carriedOut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[index].injected++
	if carriedOut {
		w.faults[index].carriedOut++
	}
	if note := w.open[callID]; note != nil {
		note.faults = append(note.faults, index)
	}
}

func (w *watch) tooLate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late++
}

// seen learns the tokens that the account gives out.
func (w *watch) seen(path string, answer []byte) {
	if !isToken(path) {
		return
	}
	var in struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(answer, &in) == nil && in.AccessToken != "" {
		w.secret(in.AccessToken)
	}
}

func (w *watch) secret(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, s)
}

// Write looks for secrets in a text, such as a line of the client's log.
func (w *watch) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines++
	for _, secret := range w.secrets {
		if strings.Contains(string(text), secret) {
			w.leaks++
			break
		}
	}
	return len(text), nil
}

// stamped is a transport that tells the gateway which call and task a request is of.
type stamped struct{ base *http.Transport }

func (s stamped) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if note, ok := r.Context().Value(callKey{}).(*callNote); ok {
		r.Header.Set(callHeader, strconv.FormatUint(note.id, 10))
	}
	// A renewal has the values of the call that began it, and is for all calls.
	if t, ok := r.Context().Value(taskKey{}).(*task); ok && t != nil && !isToken(r.URL.Path) {
		r.Header.Set(taskHeader, strconv.FormatUint(t.id, 10))
		t.tried.Add(1)
	}
	return s.base.RoundTrip(r)
}

// CloseIdleConnections ends the connections that nobody uses.
func (s stamped) CloseIdleConnections() { s.base.CloseIdleConnections() }
