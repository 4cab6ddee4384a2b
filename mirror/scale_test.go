package mirror_test

import (
	"flag"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

var followersOfScale = flag.Int("followers", 5000, "the size of the account of TestScale")

// TestScale fills a table in PostgreSQL and prints what that costs. The memory is that of the heap after a collection,
// less that of the simulator, which is in the same process:
//
//	go test -run TestScale -v -followers 1000000 -timeout 1h
func TestScale(t *testing.T) {
	d := databases[1]
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(*followersOfScale),
		wechatusertest.WithRequestLog(0))
	db := d.open(t)
	peak := &peakTransport{RoundTripper: srv.Transport()}
	m, err := mirror.New(srv.Client(wechatuser.WithTransport(peak)), newSQLStore(t, db, d.dialect))
	require.NoError(t, err)
	run := func(what string, f func() (*mirror.Report, error), calls int) *mirror.Report {
		t.Helper()
		peak.start(calls / 20)
		began := time.Now()
		report, err := f()
		require.NoError(t, err)
		t.Logf("%s of %d followers: %v, peak heap %d KiB; %v", what, *followersOfScale,
			time.Since(began).Round(time.Millisecond), peak.heap.Load()>>10, report)
		return report
	}
	n := *followersOfScale
	full := func() (*mirror.Report, error) { return m.Full(t.Context()) }
	reconcile := func() (*mirror.Report, error) { return m.Reconcile(t.Context()) }

	report := run("First Full", full, n/100)
	pages := (n+9999)/10_000 + 2
	assert.Equal(t, mirror.Report{Listed: n, Added: n, Profiles: n, Calls: pages + n/100}, *report)
	report = run("Reconcile", reconcile, n/10_000)
	assert.Equal(t, mirror.Report{Listed: n, Calls: pages}, *report)
	for i := range n / 100 {
		srv.Unfollow(wechatusertest.OpenID(i * 100))
	}
	report = run("Reconcile after 1 % have left", reconcile, n/10_000)
	assert.Equal(t, n/100, report.Removed)
	report = run("Full", full, n/10_000)
	assert.Zero(t, report.Profiles)
	var followers int
	require.NoError(t, db.QueryRowContext(t.Context(),
		"SELECT COUNT(*) FROM wechat_followers WHERE left_at IS NULL").Scan(&followers))
	assert.Equal(t, n-n/100, followers)
}

// peakTransport measures the live heap before some of the requests.
type peakTransport struct {
	http.RoundTripper
	n, every   atomic.Int64
	base, heap atomic.Uint64
}

// start begins to measure before each of every calls: a collection takes as long as the simulator is large.
func (p *peakTransport) start(every int) {
	p.every.Store(int64(max(1, every)))
	p.base.Store(liveHeap())
	p.heap.Store(0)
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (p *peakTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.n.Add(1)%p.every.Load() == 0 {
		if heap, base := liveHeap(), p.base.Load(); heap > base {
			p.heap.Store(max(p.heap.Load(), heap-base))
		}
	}
	return p.RoundTripper.RoundTrip(r)
}
