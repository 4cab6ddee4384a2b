package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// What a peer leaves running ends with the process of its cell; goleak sees what this program leaves.
func TestMain(m *testing.M) {
	if runCell() {
		return
	}
	goleak.VerifyTestMain(m)
}

func TestTable(t *testing.T) {
	table, err := measure(t.Context(), peers, measurements)
	require.NoError(t, err)

	ours := map[string]string{ // regular expressions
		"version": `this checkout`,
		"token requests of 1,000 calls at once, no token yet":               `1`,
		"100 calls whose token was revoked: renewals / failed":              `1 / 0`,
		"the network is down: the error holds the token":                    `no`,
		"the network is down, no token yet: the error holds the app secret": `no`,
		"120 openids to tag (50 in a call)":                                 `calls: 3, tagged: 120, no error`,
		"goroutines left by 100 clients of one call each":                   `0`,
		"third-party modules compiled in":                                   `2`,
		"one profile: allocations, memory":                                  `\d+, \d+\.\d kB`,
		"a page of 10,000 openids: allocations, memory":                     `\d\d\d?, \d+\.\d kB`,
	}
	for i, m := range measurements {
		assert.Regexp(t, "^("+ours[m.name]+")$", table[i][0], m.name)
		for j, p := range peers {
			assert.NotEmpty(t, table[i][j], "%s, %s", p.name, m.name) // later versions may do better
		}
	}

	var out strings.Builder
	write(&out, table)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, len(measurements)+2)
	for _, line := range lines {
		assert.Equal(t, len(peers)+2, strings.Count(line, "|"), line)
	}
}

// naive is all that the measurements look for: no lock, a token for good, URLs in errors, one request for any number of
// openids, and a goroutine for each client.
type naive struct {
	account
	token atomic.Pointer[string]
}

func (n *naive) Profile(ctx context.Context, openID string) error {
	return n.call(ctx, "user/info?openid="+openID+"&access_token=", nil, nil)
}

func (n *naive) Page(ctx context.Context) (int, error) {
	var page struct{ Count int }
	err := n.call(ctx, "user/get?access_token=", nil, &page)
	return page.Count, err
}

func (n *naive) Tag(ctx context.Context, tagID int, openIDs []string) error {
	body := map[string]any{"tagid": tagID, "openid_list": openIDs}
	return n.call(ctx, "tags/members/batchtagging?access_token=", body, nil)
}

func (n *naive) call(ctx context.Context, path string, body, result any) error {
	if n.token.Load() == nil {
		var answer struct {
			AccessToken string `json:"access_token"`
		}
		err := n.send(ctx, "token?grant_type=client_credential&appid="+n.AppID+"&secret="+n.Secret, nil, &answer)
		if err != nil {
			return err
		}
		n.token.Store(&answer.AccessToken)
	}
	return n.send(ctx, path+*n.token.Load(), body, result)
}

func (n *naive) send(ctx context.Context, path string, body, result any) error {
	method, payload := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		payload, _ = json.Marshal(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://api.weixin.qq.com/cgi-bin/"+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	resp, err := n.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	var failure struct{ Errcode int }
	if err := json.Unmarshal(answer, &failure); err != nil {
		return err
	}
	if failure.Errcode != 0 {
		return fmt.Errorf("errcode %d", failure.Errcode)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer, result)
}

// What is wrong with a client is seen.
func TestMeasurementsSeeFaults(t *testing.T) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	p := peer{name: "naive", connect: func(a account) (client, error) {
		wg.Go(func() { <-end })
		return &naive{account: a}, nil
	}}
	defer wg.Wait()
	defer close(end)
	srv := wechatusertest.NewServer(wechatusertest.WithFans(pageSize))
	defer srv.Close()

	want := map[string]string{ // regular expressions
		"token requests of 1,000 calls at once, no token yet":               `\d\d\d|1,000`, // on a slow machine some come late
		"100 calls whose token was revoked: renewals / failed":              "0 / 100",
		"the network is down: the error holds the token":                    "yes",
		"the network is down, no token yet: the error holds the app secret": "yes",
		"120 openids to tag (50 in a call)":                                 "calls: 1, tagged: 0, an error",
		"goroutines left by 100 clients of one call each":                   `9\d|100`, // connections of the measurement before may end meanwhile
	}
	for _, m := range measurements {
		if m.name == "version" || m.name == "third-party modules compiled in" {
			continue // these ask for a module
		}
		got, err := m.run(t.Context(), p, srv.URL)
		require.NoError(t, err, m.name)
		if text, ok := want[m.name]; ok {
			assert.Regexp(t, "^("+text+")$", got, m.name)
		}
		assert.NotEmpty(t, got, m.name)
	}
}

func TestRedirectLeavesOtherHostsAlone(t *testing.T) {
	srv := wechatusertest.NewServer()
	defer srv.Close()
	transport, err := newRedirect(srv.URL)
	require.NoError(t, err)

	_, err = (&http.Client{Transport: transport}).Get("https://api2.weixin.qq.com/cgi-bin/user/get")

	assert.ErrorContains(t, err, "a request to https://api2.weixin.qq.com")
}

// A cell that cannot be measured is an error that says why, and the others are measured.
func TestFailedCell(t *testing.T) {
	table, err := measure(t.Context(), []peer{{name: "unknown"}, wechatuserPeer}, measurements[:1])

	assert.ErrorContains(t, err, "unknown, version")
	assert.ErrorContains(t, err, "no such cell")
	assert.Equal(t, [][]string{{"", "this checkout"}}, table)
}
