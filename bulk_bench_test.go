package wechatuser_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/wechatuser/wechatuser"
)

// million is a transport with a million followers, whom it makes up as it goes, so that what is in memory is the
// client's.
type million struct{}

const (
	millionFans = 1_000_000
	millionPage = 10_000
	millionID   = "oFAKE%023d"
)

func (m million) RoundTrip(req *http.Request) (*http.Response, error) {
	switch req.URL.Path {
	case pathFans:
		return m.page(req)
	case pathBatchInfo:
		return m.profiles(req)
	}
	return says(okBody)(req)
}

func (million) page(req *http.Request) (*http.Response, error) {
	start := 0
	if cursor := req.URL.Query().Get("next_openid"); cursor != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(cursor, "oFAKE"))
		if err != nil {
			return nil, err
		}
		start = n
	}
	end := min(start+millionPage, millionFans)
	if start == end {
		return fanPage(millionFans, "")(req)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"total":%d,"count":%d,"data":{"openid":[`, millionFans, end-start)
	for i := start + 1; i <= end; i++ {
		if i > start+1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"`+millionID+`"`, i)
	}
	fmt.Fprintf(&b, `]},"next_openid":"`+millionID+`"}`, end)
	return says(b.String())(req)
}

func (million) profiles(req *http.Request) (*http.Response, error) {
	var in struct {
		Users []struct {
			OpenID string `json:"openid"`
		} `json:"user_list"`
	}
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(`{"user_info_list":[`)
	for i, u := range in.Users {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"subscribe":1,"openid":"` + u.OpenID + `","nickname":"","sex":0,"language":"zh_CN","city":"","province":"",` +
			`"country":"","headimgurl":"","subscribe_time":1700000000,"unionid":"` + u.OpenID + `","remark":"` + u.OpenID + `","groupid":100,` +
			`"tagid_list":[100,101,102],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":0,"qr_scene_str":""}`)
	}
	b.WriteString(`]}`)
	return says(b.String())(req)
}

// heap watches the live heap, and its largest size above that of the start.
type heap struct{ base, most uint64 }

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (h *heap) look() { h.most = max(h.most, liveHeap()) }

// report prints the live heap, and fails where it is over the promise.
func (h *heap) report(b *testing.B) {
	const limit = 32
	mib := float64(h.most-min(h.base, h.most)) / (1 << 20)
	b.ReportMetric(mib, "MiB-live")
	if mib > limit {
		b.Errorf("%.1f MiB in use, which is to be below %d", mib, limit)
	}
}

// BenchmarkMillionFollowers goes through a million followers. MiB-live is the largest heap on the way.
//
//	go test -run '^$' -bench MillionFollowers -benchtime=1x .
func BenchmarkMillionFollowers(b *testing.B) {
	const looks = 20
	for _, bm := range []struct {
		name string
		run  func(c *wechatuser.Client, each func(n int)) (int, error)
	}{
		{"walk", func(c *wechatuser.Client, each func(int)) (n int, err error) {
			for _, err := range c.AllFans(b.Context()) {
				if err != nil {
					return n, err
				}
				n++
				each(n)
			}
			return n, nil
		}},
		{"profiles", func(c *wechatuser.Client, each func(int)) (n int, err error) {
			for _, err := range c.BulkUserInfo(b.Context(), c.AllFans(b.Context())) {
				if err != nil {
					return n, err
				}
				n++
				each(n)
			}
			return n, nil
		}},
		{"tagging", func(c *wechatuser.Client, each func(int)) (int, error) {
			report, err := c.BulkTagging(b.Context(), 100, c.AllFans(b.Context()),
				wechatuser.WithProgress(func(p wechatuser.Progress) { each(p.Done) }))
			return report.Applied, err
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			c := newClient(b, million{})
			h := heap{base: liveHeap()}
			b.ReportAllocs()
			for b.Loop() {
				n, err := bm.run(c, func(n int) {
					if n%(millionFans/looks) == 0 {
						h.look()
					}
				})
				if n != millionFans || err != nil {
					b.Fatal(n, err)
				}
			}
			h.report(b)
		})
	}
}
