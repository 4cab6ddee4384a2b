package wechatuser_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// bytesOf reads a fuzzer's input.
type bytesOf []byte

func (b *bytesOf) next() int {
	if len(*b) == 0 {
		return 0
	}
	n := (*b)[0]
	*b = (*b)[1:]
	return int(n)
}

func (b *bytesOf) more() bool { return len(*b) > 0 }

// issuer acts as the platform: it issues tokens, rejects invalid ones, and fails as told. It checks the rules that a
// client must keep, whatever happens.
type issuer struct {
	t      *testing.T
	legacy bool

	mu       sync.Mutex
	failing  string // how token requests fail, empty if they succeed
	reissue  bool   // normal mode issues the same token even if it is invalid
	issued   []issuedToken
	forcedAt time.Time
	kills    int                    // how often all tokens were revoked
	requests map[string][]time.Time // for tokens, by client
	underWay map[string]int
	worked   map[string]bool // by client and token
	onKill   func()          // called with the lock held
}

type issuedToken struct {
	wechatuser.Token
	ends time.Time // can be earlier than announced
}

// find returns the index of a token among those issued, -1 if it is none of them.
func (p *issuer) find(value string) int {
	return slices.IndexFunc(p.issued, func(it issuedToken) bool { return it.AccessToken == value })
}

// alive returns how long a token is still valid.
func (p *issuer) alive(value string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.aliveLocked(value)
}

func (p *issuer) aliveLocked(value string) time.Duration {
	i := p.find(value)
	if i < 0 {
		return 0
	}
	return time.Until(p.issued[i].ends)
}

// kill revokes all tokens.
func (p *issuer) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked()
}

func (p *issuer) killLocked() {
	p.kills++
	p.onKill()
	for i := range p.issued {
		p.issued[i].ends = time.Time{}
	}
}

func (p *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	client := req.UserAgent()
	if !testutil.IsTokenPath(req.URL.Path) {
		return p.respond(req)
	}
	p.mu.Lock()
	now := time.Now()
	p.requests[client] = append(p.requests[client], now)
	if all := p.requests[client]; len(all) > 20 {
		assert.GreaterOrEqual(p.t, now.Sub(all[len(all)-21]), time.Minute, "more than 20 token requests in a minute")
	}
	p.underWay[client]++
	assert.Equal(p.t, 1, p.underWay[client], "token requests at once")
	failing := p.failing
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.underWay[client]--
		p.mu.Unlock()
	}()
	force := false
	if req.Body != nil {
		var in struct {
			Force bool `json:"force_refresh"`
		}
		if err := json.NewDecoder(req.Body).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		force = in.Force
	}
	switch failing {
	case "refused":
		return nil, testutil.ErrRefused
	case "reset":
		return nil, testutil.ErrReset
	case "lost":
		p.issue(force)
		return nil, testutil.ErrReset
	case "busy":
		return testutil.RespondCode(-1)(req)
	case "gateway":
		return testutil.Respond(502, "<html>", "Retry-After", "7")(req)
	case "secret":
		return testutil.RespondCode(40125)(req)
	case "quota":
		return testutil.RespondCode(45009)(req)
	case "hangs":
		return testutil.Hang(req)
	}
	return testutil.Delay(200*time.Millisecond, func(req *http.Request) (*http.Response, error) {
		return testutil.RespondJSON(p.issue(force))(req)
	})(req)
}

// issue returns the response to a token request.
func (p *issuer) issue(force bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var newest *issuedToken
	if n := len(p.issued); n > 0 {
		newest = &p.issued[n-1]
	}
	if force && now.Sub(p.forcedAt) >= 30*time.Second {
		p.forcedAt = now
		p.killLocked()
		newest = nil
	}
	switch {
	case newest == nil, p.legacy, !p.reissue &&
		newest.ends.Sub(now) <= 5*time.Minute, newest.ExpiresAt.Sub(now) <= 5*time.Minute:
		for i := range p.issued {
			if end := now.Add(5 * time.Minute); p.issued[i].ends.After(end) {
				p.issued[i].ends = end
			}
		}
		t := wechatuser.Token{
			AccessToken: fmt.Sprintf("%s-T%d", testutil.Sentinel, len(p.issued)), ExpiresAt: now.Add(2 * time.Hour),
		}
		p.issued = append(p.issued, issuedToken{t, t.ExpiresAt})
		newest = &p.issued[len(p.issued)-1]
	}
	return fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, newest.AccessToken, newest.ExpiresAt.Sub(now)/time.Second)
}

func (p *issuer) respond(req *http.Request) (*http.Response, error) {
	return testutil.Delay(10*time.Millisecond, func(req *http.Request) (*http.Response, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		value := req.URL.Query().Get("access_token")
		if p.aliveLocked(value) <= 0 {
			return testutil.RespondCode(40001)(req)
		}
		p.worked[req.UserAgent()+value] = true
		return testutil.RespondJSON(testutil.TagsBody)(req)
	})(req)
}

// tokenDrive is a run of FuzzTokens.
type tokenDrive struct {
	t         *testing.T
	p         *issuer
	clients   []*wechatuser.Client
	store     *testutil.SpyStore // nil for none
	storeDown string             // how the store fails, empty if it works
	seen      []int              // index of the token that each client had last
	spoiled   bool               // the store holds an invalid token
	faultAt   time.Time          // the last fault other than a revoked token

	mu    sync.Mutex
	calls sync.WaitGroup
}

func newTokenDrive(t *testing.T, setting int) *tokenDrive {
	p := &issuer{
		t: t, legacy: setting&1 != 0, requests: map[string][]time.Time{}, underWay: map[string]int{},
		worked: map[string]bool{},
	}
	d := &tokenDrive{t: t, p: p, faultAt: time.Now().Add(-time.Hour)}
	p.onKill = d.killed
	var opts []wechatuser.Option
	if p.legacy {
		opts = append(opts, wechatuser.WithLegacyToken())
	}
	if setting&2 != 0 {
		d.store = testutil.NewSpyStore()
		d.store.Before = func(ctx context.Context, _ string) error {
			d.mu.Lock()
			down := d.storeDown
			d.mu.Unlock()
			switch down {
			case "fails":
				return testutil.ErrReset
			case "hangs":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		opts = append(opts, wechatuser.WithTokenStore(d.store))
	}
	if setting&4 != 0 {
		opts = append(opts, wechatuser.WithoutForcedRenewal())
	}
	for i := range 2 {
		d.clients = append(d.clients,
			testutil.NewTokenClient(t, p, append(opts, wechatuser.WithUserAgent(fmt.Sprint("client ", i)))...))
		d.seen = append(d.seen, -1)
	}
	return d
}

// fine reports whether nothing has failed for so long.
func (d *tokenDrive) fine(since time.Duration) bool {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.p.failing == "" && !d.p.reissue && d.storeDown == "" && time.Since(d.faultAt) > since
}

func (d *tokenDrive) noteFault() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faultAt = time.Now()
}

// killed records that a token was revoked before a client has used it: such a client waits before it fetches another.
func (d *tokenDrive) killed() {
	for i, c := range d.clients {
		name := fmt.Sprint("client ", i)
		if now := wechatuser.CurrentToken(c).AccessToken; d.p.underWay[name] > 0 || !d.p.worked[name+now] {
			d.noteFault()
		}
	}
}

// recentRequests returns the number of a client's token requests in the last minute.
func (d *tokenDrive) recentRequests(client int) (n int) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	for _, at := range d.p.requests[fmt.Sprint("client ", client)] {
		if time.Since(at) <= time.Minute {
			n++
		}
	}
	return n
}

// call makes a call and checks its error, if it had to succeed.
func (d *tokenDrive) call(client int, limit time.Duration) {
	c, start := d.clients[client], time.Now()
	d.p.mu.Lock()
	kills := d.p.kills
	d.p.mu.Unlock()
	had := wechatuser.CurrentToken(c).AccessToken
	good := d.p.alive(had) > time.Second && !d.spoiled
	calm := d.fine(2*time.Minute) && d.recentRequests(client) < 6

	ctx := context.Background()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	err := testutil.GetTags(ctx, c)
	took := time.Since(start)
	if limit > 0 {
		assert.LessOrEqual(d.t, took, limit, "a call outlives its context")
		return
	}
	assert.Less(d.t, took, 5*time.Minute, "a call that takes so long: %v", err)

	d.p.mu.Lock()
	undisturbed := d.p.kills == kills
	d.p.mu.Unlock()
	if !undisturbed && err != nil {
		d.noteFault()
	}
	if good && undisturbed && d.p.alive(had) > time.Second {
		require.NoError(d.t, err, "there was a good token")
	}
	if calm && undisturbed && d.fine(took) {
		require.NoError(d.t, err, "all was in order")
	}
}

// look checks that no client has gone back to an older token while the newer one was valid.
func (d *tokenDrive) look() {
	for i, c := range d.clients {
		now := wechatuser.CurrentToken(c).AccessToken
		if now == "" {
			continue
		}
		d.p.mu.Lock()
		place, before := d.p.find(now), d.seen[i]
		if before >= 0 && place >= 0 && place < before { // an unknown token in the store expires later
			assert.LessOrEqual(d.t, time.Until(d.p.issued[before].ends), time.Duration(0),
				"token %d took the place of the good token %d", place, before)
		}
		d.seen[i] = place
		d.p.mu.Unlock()
	}
}

var fuzzPauses = []time.Duration{
	time.Millisecond, 150 * time.Millisecond, time.Second, 7 * time.Second, 31 * time.Second, 61 * time.Second,
	5 * time.Minute, time.Hour, 115 * time.Minute, 118 * time.Minute, 2 * time.Hour,
}

var fuzzFailures = []string{"", "refused", "reset", "lost", "busy", "gateway", "secret", "quota", "hangs"}

// step performs one operation of the input.
func (d *tokenDrive) step(in *bytesOf) {
	op, arg := in.next(), in.next()
	client := arg & 1
	switch op % 13 {
	case 0, 1: // concurrent calls
		var wg sync.WaitGroup
		for range 1 + arg>>1%8 {
			wg.Go(func() { d.call(client, 0) })
		}
		wg.Wait()
	case 2: // a call in the background
		d.calls.Go(func() { d.call(client, 0) })
	case 3: // a call with a short deadline
		d.call(client, fuzzPauses[arg>>1%5])
	case 4:
		time.Sleep(fuzzPauses[arg%len(fuzzPauses)])
	case 5:
		d.p.kill()
	case 6: // later
		time.AfterFunc(time.Duration(arg)*10*time.Millisecond, d.p.kill)
	case 7:
		d.noteFault()
		d.p.mu.Lock()
		d.p.failing = fuzzFailures[arg%len(fuzzFailures)]
		d.p.mu.Unlock()
	case 8:
		d.noteFault()
		d.p.mu.Lock()
		d.p.reissue = arg&1 != 0 && !d.p.legacy
		d.p.mu.Unlock()
	case 9:
		d.calls.Go(func() { _, _ = d.clients[client].RefreshToken(context.Background()) })
	case 10:
		d.noteFault()
		d.mu.Lock()
		d.storeDown = []string{"", "fails", "hangs"}[arg%3]
		d.mu.Unlock()
	case 11:
		d.put(arg)
	case 12: // sequential calls
		for range 30 {
			d.call(client, 0)
			time.Sleep(fuzzPauses[1+arg>>1%3])
		}
	}
	d.look()
}

// put replaces the token in the store, against the rules of a store.
func (d *tokenDrive) put(arg int) {
	if d.store == nil {
		return
	}
	key := testutil.StableKey
	if d.p.legacy {
		key = testutil.LegacyKey
	}
	ctx := context.Background()
	old, err := d.store.TokenStore.Load(ctx, key)
	require.NoError(d.t, err)
	require.NoError(d.t, d.store.TokenStore.Delete(ctx, key, old))
	d.p.mu.Lock()
	var t wechatuser.Token
	switch n := len(d.p.issued); {
	case arg%3 == 0: // none
	case arg%3 == 1 && n > 0:
		t = d.p.issued[arg/3%n].Token
	default:
		t = wechatuser.Token{AccessToken: "FAKE-stranger", ExpiresAt: time.Now().Add(3 * time.Hour)}
	}
	d.p.mu.Unlock()
	d.noteFault()
	if t.AccessToken != "" {
		d.spoiled = true
		require.NoError(d.t, d.store.TokenStore.Save(ctx, key, t))
	}
}

// end removes all faults, and checks that calls succeed.
func (d *tokenDrive) end() {
	d.noteFault() // up to now
	d.p.mu.Lock()
	d.p.failing, d.p.reissue = "", false
	d.p.mu.Unlock()
	d.mu.Lock()
	d.storeDown = ""
	d.mu.Unlock()
	d.calls.Wait()
	time.Sleep(3 * time.Minute)
	for i := range d.clients {
		d.call(i, 0)
		require.NoError(d.t, testutil.GetTags(d.t.Context(), d.clients[i]), "in the end all is well")
	}
	time.Sleep(3 * time.Minute) // refreshes in the background have ended
	d.look()
}

func driveTokens(t *testing.T, data []byte) {
	synctest.Test(t, func(t *testing.T) {
		in := bytesOf(data)
		d := newTokenDrive(t, in.next())
		for range 40 {
			if !in.more() {
				break
			}
			d.step(&in)
		}
		d.end()
	})
}

func FuzzTokens(f *testing.F) {
	for setting := range byte(8) {
		// an ordinary life
		f.Add([]byte{setting, 0, 14, 5, 0, 0, 14, 4, 8, 0, 15, 4, 9, 1, 14, 4, 10, 0, 15})
		// a revoked token while no other can be fetched
		f.Add([]byte{setting, 0, 14, 7, 1, 5, 0, 0, 14, 4, 5, 7, 0, 0, 15})
		// a wrong secret
		f.Add([]byte{setting, 7, 6, 0, 14, 0, 14, 4, 3, 0, 14, 7, 0, 4, 5, 0, 14})
		// a platform that issues the invalid token again
		f.Add([]byte{setting, 0, 14, 8, 1, 5, 0, 0, 14, 0, 15, 4, 4, 0, 14, 8, 0, 4, 5, 0, 14})
		// a store that fails
		f.Add([]byte{setting, 0, 14, 10, 1, 5, 0, 0, 14, 10, 2, 5, 0, 0, 15, 10, 0, 4, 5, 0, 14})
		// a store with wrong tokens
		f.Add([]byte{setting, 0, 14, 5, 0, 0, 14, 11, 1, 5, 0, 0, 14, 11, 2, 0, 15, 4, 9, 0, 14})
		// all at once
		f.Add([]byte{setting, 2, 0, 2, 1, 9, 0, 6, 20, 2, 0, 2, 1, 3, 2, 9, 1, 4, 4, 9, 0, 6, 1, 2, 1})
		// a platform that hangs
		f.Add([]byte{setting, 7, 8, 2, 0, 3, 4, 2, 1, 4, 4, 7, 0, 0, 14, 4, 8, 7, 8, 0, 0, 4, 3, 0, 1})
		// revoked again and again
		f.Add([]byte{setting, 5, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5})
		// twenty requests in a minute
		f.Add([]byte{setting, 7, 2, 12, 0, 12, 2, 7, 0, 12, 0})
		// the last minutes of a token
		f.Add([]byte{setting, 0, 14, 4, 9, 4, 5, 7, 4, 12, 2, 7, 6, 12, 0})
		// an older token in the store
		f.Add([]byte{setting, 0, 14, 4, 5, 9, 0, 4, 2, 0, 0, 11, 1, 4, 8, 4, 5, 0, 0, 4, 2, 0, 14})
	}
	f.Fuzz(driveTokens)
}

// walkPage is a page of a list. Requests get the pages in order, and then the last one over and over.
type walkPage struct {
	ids   []string
	next  string
	total int
	fails bool
}

var walkIDs = []string{"", "oA", "oB", "oC", "oD", "oE", "oF", "oG"}

func walkFrom(in *bytesOf) (pages []walkPage) {
	for range 1 + in.next()%8 {
		head := in.next()
		p := walkPage{next: walkIDs[head&7], total: in.next() % 20, fails: head>>3&7 == 7}
		for range head >> 6 & 3 {
			p.ids = append(p.ids, walkIDs[in.next()&7])
		}
		pages = append(pages, p)
	}
	return pages
}

// expected returns the openids of a list with these pages, their number after each page, and whether it ends with an
// error.
func expected(pages []walkPage, cursor string) (ids []string, ends []int, bad bool) {
	seen, before := map[string]bool{}, map[string]bool{} // cursors and pages
	fromStart, total := cursor == "", 0
	for i, doubted := 0, false; ; i++ {
		p := pages[min(i, len(pages)-1)]
		if p.fails {
			return ids, append(ends, len(ids)), true
		}
		if len(p.ids) == 0 {
			return ids, append(ends, len(ids)), false
		}
		seen[cursor] = true
		page := slices.DeleteFunc(slices.Clone(p.ids), func(id string) bool { return id == "" })
		if len(page) > 0 && page[0] == cursor {
			page = page[1:]
		}
		next := p.next
		if next == "" && len(page) > 0 {
			next = page[len(page)-1]
		}
		total = max(total, p.total)
		text := strings.Join(page, " ")
		circle := next != "" && seen[next] || before[text]
		switch {
		case circle && doubted && p.next == "":
			return ids, append(ends, len(ids)), fromStart && len(ids) < total
		case len(page) == 0 && (circle || next == ""):
			return ids, append(ends, len(ids)), false
		case circle:
			return ids, append(ends, len(ids)), true
		}
		ids = append(ids, page...)
		ends = append(ends, len(ids))
		before[text] = len(page) > 0
		cursor, doubted = next, p.next == ""
	}
}

// walker returns a transport that responds with these pages.
func walker(pages []walkPage) *testutil.Script {
	var replies []testutil.Reply
	for _, p := range pages {
		if p.fails {
			replies = append(replies, testutil.RespondCode(48001))
		} else {
			replies = append(replies, testutil.RespondPage(p.total, p.next, p.ids...))
		}
	}
	return testutil.Play(replies...)
}

func walk(t *testing.T, data []byte) {
	in := bytesOf(data)
	head := in.next()
	prefetch, leave, after := head&3, head>>2&15, walkIDs[head>>6&1]
	pages := walkFrom(&in)
	want, ends, bad := expected(pages, after)

	synctest.Test(t, func(t *testing.T) {
		s := walker(pages)
		c := testutil.NewClient(t, s)
		opts := []wechatuser.ListOption{wechatuser.WithPrefetch(prefetch), wechatuser.StartAfter(after)}

		got, errs := seq.Collect(c.AllFans(t.Context(), opts...))
		assert.Equal(t, want, got)
		assert.NotContains(t, got, "")
		assert.Equal(t, bad, len(errs) == 1, errs)
		assert.LessOrEqual(t, len(errs), 1)
		assert.Equal(t, len(ends), s.Count(), "calls")

		// Break in the middle.
		s = walker(pages)
		c = testutil.NewClient(t, s)
		var left []string
		for id, err := range c.AllFans(t.Context(), opts...) {
			if err != nil {
				break
			}
			if left = append(left, id); len(left) > leave {
				break
			}
		}
		assert.Equal(t, want[:min(len(want), leave+1)], slices.Clip(left), "the beginning")
		calls := s.Count()
		time.Sleep(time.Minute)
		assert.Equal(t, calls, s.Count(), "a call after the loop has ended")
		if len(left) > leave {
			assert.LessOrEqual(t, calls, mostCalls(ends, len(left), prefetch), "calls ahead of the loop")
		}
	})
}

// mostCalls returns how many calls there may be when a loop has taken so many openids: the pages up to there, and as
// many non-empty pages as may be prefetched.
func mostCalls(ends []int, taken, prefetch int) int {
	calls := 1
	for ends[calls-1] < taken {
		calls++
	}
	for ahead := 0; ahead < prefetch && calls < len(ends); calls++ {
		if ends[calls] > ends[calls-1] {
			ahead++
		}
	}
	return calls
}

func FuzzWalk(f *testing.F) {
	f.Add([]byte{0, 2, 0x82, 2, 1, 2, 0xc0, 9, 3, 4, 5, 0x00, 0})
	f.Add([]byte{1, 1, 0xc3, 3, 1, 2, 3})                               // the same page over and over
	f.Add([]byte{2, 2, 0xc3, 3, 1, 2, 3, 0xc3, 3, 3, 4, 5})             // a circle
	f.Add([]byte{3, 3, 0x41, 1, 0, 0x42, 1, 1, 0x43, 1, 2, 0x38, 0})    // empty strings, cursors in pages, an error
	f.Add([]byte{0x45, 2, 0xc2, 5, 1, 2, 2, 0x82, 0, 2, 2, 0x03, 7})    // started in the middle
	f.Add([]byte{0x0d, 4, 0xc5, 0, 3, 4, 5, 0xc7, 0, 6, 7, 7, 0x40, 1}) // left in the middle
	f.Add([]byte{0x01, 3, 0x41, 1, 1, 0x42, 1, 0, 0x43, 1, 3, 0x04, 0}) // an empty page is prefetched
	f.Fuzz(walk)
}
