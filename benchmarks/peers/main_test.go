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

// Goroutines that a peer leaves running end with the process of its cell. goleak checks this program.
func TestMain(m *testing.M) {
	if runCell() {
		return
	}
	goleak.VerifyTestMain(m)
}

// All cells are measured, and the column of this SDK has the expected values.
func TestTable(t *testing.T) {
	table, err := measure(t.Context(), peers, measurements)
	require.NoError(t, err)

	ours := map[string]string{ // regular expressions
		"version": `this checkout`,
		"token requests for 1,000 concurrent calls, no cached token":               `1`,
		"100 concurrent calls with a revoked token: token requests / failed calls": `1 / 0`,
		"network down: the error contains the token":                               `no`,
		"network down, no cached token: the error contains the app secret":         `no`,
		"tagging 120 openids (at most 50 per call)":                                `calls: 3, tagged: 120, no error`,
		"goroutines left running by 100 clients after one call each":               `0`,
		"third-party modules compiled in":                                          `2`,
		"one profile: allocations, memory":                                         `\d+, \d+\.\d kB`,
		"100 profiles: allocations, memory":                                        `\d\d, \d+\.\d kB`,
		"100 profiles, an escape in one: allocations, memory":                      `\d\d, \d+\.\d kB`,
		"a page of 10,000 openids: allocations, memory":                            `\d\d\d?, \d+\.\d kB`,
	}
	for i, m := range measurements {
		assert.Regexp(t, "^("+ours[m.name]+")$", table[i][0], m.name)
		for j, p := range peers {
			assert.NotEmpty(t, table[i][j], "%s, %s", p.name, m.name) // later versions may have other values
		}
	}

	var out strings.Builder
	writeTable(&out, table)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, len(measurements)+2)
	for _, line := range lines {
		assert.Equal(t, len(peers)+2, strings.Count(line, "|"), line)
	}
}

// naive is a client with all the faults that the measurements detect: no lock, a token that is never refreshed, URLs in
// errors, one request for any number of openids, and a goroutine per client.
type naive struct {
	account
	token atomic.Pointer[string]
}

func (n *naive) Profile(ctx context.Context, openID string) error {
	return n.call(ctx, "user/info?openid="+openID+"&access_token=", nil, nil)
}

func (n *naive) Profiles(ctx context.Context, openIDs []string) (int, error) {
	users := make([]map[string]string, len(openIDs))
	for i, id := range openIDs {
		users[i] = map[string]string{"openid": id}
	}
	var list struct {
		Users []json.RawMessage `json:"user_info_list"`
	}
	err := n.call(ctx, "user/info/batchget?access_token=", map[string]any{"user_list": users}, &list)
	return len(list.Users), err
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
		var resp struct {
			AccessToken string `json:"access_token"`
		}
		err := n.send(ctx, "token?grant_type=client_credential&appid="+n.AppID+"&secret="+n.Secret, nil, &resp)
		if err != nil {
			return err
		}
		n.token.Store(&resp.AccessToken)
	}
	return n.send(ctx, path+*n.token.Load(), body, result)
}

func (n *naive) send(ctx context.Context, path string, body, result any) error {
	method, payload := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		payload, _ = json.Marshal(body)
	}
	url := "https://api.weixin.qq.com/cgi-bin/" + path
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	resp, err := n.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var content json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&content); err != nil {
		return err
	}
	var failure struct{ Errcode int }
	if err := json.Unmarshal(content, &failure); err != nil {
		return err
	}
	if failure.Errcode != 0 {
		return fmt.Errorf("errcode %d", failure.Errcode)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(content, result)
}

// The measurements detect the faults of a naive client.
func TestMeasurementsDetectFaults(t *testing.T) {
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
		// On a slow machine, some calls start late.
		"token requests for 1,000 concurrent calls, no cached token":               `\d\d\d|1,000`,
		"100 concurrent calls with a revoked token: token requests / failed calls": "0 / 100",
		"network down: the error contains the token":                               "yes",
		"network down, no cached token: the error contains the app secret":         "yes",
		"tagging 120 openids (at most 50 per call)":                                "calls: 1, tagged: 0, an error",
		// Connections of the previous measurement may close meanwhile.
		"goroutines left running by 100 clients after one call each": `9\d|100`,
	}
	for _, m := range measurements {
		if m.name == "version" || m.name == "third-party modules compiled in" {
			continue // these need a module
		}
		got, err := m.run(t.Context(), p, srv.URL)
		require.NoError(t, err, m.name)
		if text, ok := want[m.name]; ok {
			assert.Regexp(t, "^("+text+")$", got, m.name)
		}
		assert.NotEmpty(t, got, m.name)
	}
}

func TestRedirectRejectsOtherHosts(t *testing.T) {
	srv := wechatusertest.NewServer()
	defer srv.Close()
	transport, err := newRedirect(srv.URL)
	require.NoError(t, err)

	_, err = (&http.Client{Transport: transport}).Get("https://api2.weixin.qq.com/cgi-bin/user/get")

	assert.ErrorContains(t, err, "unexpected request to https://api2.weixin.qq.com")
}

// If a cell cannot be measured, the error says why and the other cells are measured.
func TestFailedCell(t *testing.T) {
	table, err := measure(t.Context(), []peer{{name: "unknown"}, wechatuserPeer}, measurements[:1])

	assert.ErrorContains(t, err, "unknown, version")
	assert.ErrorContains(t, err, "unknown cell")
	assert.Equal(t, [][]string{{"", "this checkout"}}, table)
}
