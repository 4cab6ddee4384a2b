// Package bare is the baseline of the benchmarks: a client that a careful engineer would write with net/http and
// encoding/json. It has a timeout, a connection pool of the right size and a limit for bodies, and checks the errcode.
// It does nothing else: its token is fixed, it does not retry, and its errors contain the token.
package bare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Client calls the API.
type Client struct {
	BaseURL string
	Token   string
	HTTP    *http.Client
	// Decode reads and decodes a response body.
	Decode func(body io.Reader, length int64, into any) error
}

// New returns a client with a connection pool of the same size as the SDK's.
func New(baseURL string) *Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = 64
	return &Client{
		BaseURL: baseURL, Token: "ACCESS-TOKEN-FOR-BENCHMARKS",
		HTTP:   &http.Client{Transport: t, Timeout: 10 * time.Second},
		Decode: Unmarshal,
	}
}

const maxBody = 16 << 20

// Unmarshal reads the body with io.ReadAll and decodes it with json.Unmarshal, which allocates less memory than a
// json.Decoder.
func Unmarshal(body io.Reader, _ int64, into any) error {
	data, err := io.ReadAll(io.LimitReader(body, maxBody))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// Sized returns a Decode function that reads the body into one buffer of its Content-Length and calls unmarshal.
func Sized(unmarshal func([]byte, any) error) func(io.Reader, int64, any) error {
	return func(body io.Reader, length int64, into any) error {
		var buf bytes.Buffer
		buf.Grow(int(max(length, 0)) + bytes.MinRead)
		if _, err := buf.ReadFrom(io.LimitReader(body, maxBody)); err != nil {
			return err
		}
		return unmarshal(buf.Bytes(), into)
	}
}

// UserInfo is a profile.
type UserInfo struct {
	Subscribe      int    `json:"subscribe"`
	OpenID         string `json:"openid"`
	UnionID        string `json:"unionid"`
	Language       string `json:"language"`
	SubscribeTime  int64  `json:"subscribe_time"`
	Remark         string `json:"remark"`
	GroupID        int    `json:"groupid"`
	TagIDList      []int  `json:"tagid_list"`
	SubscribeScene string `json:"subscribe_scene"`
	QRScene        int64  `json:"qr_scene"`
	QRSceneStr     string `json:"qr_scene_str"`
	Nickname       string `json:"nickname"`
	Sex            int    `json:"sex"`
	City           string `json:"city"`
	Province       string `json:"province"`
	Country        string `json:"country"`
	HeadImgURL     string `json:"headimgurl"`
}

// Page is a page of openids.
type Page struct {
	Status
	Total int `json:"total"`
	Count int `json:"count"`
	Data  struct {
		OpenIDs []string `json:"openid"`
	} `json:"data"`
	NextOpenID string `json:"next_openid"`
}

// Status is the errcode and errmsg of a response.
type Status struct {
	ErrCode int    `json:"errcode"`
	ErrMsg  string `json:"errmsg"`
}

// Err returns the errcode as an error, or nil if it is 0.
func (s *Status) Err() error {
	if s.ErrCode != 0 {
		return fmt.Errorf("errcode %d: %s", s.ErrCode, s.ErrMsg)
	}
	return nil
}

// GetUserInfo returns the profile of one user.
func (c *Client) GetUserInfo(ctx context.Context, openID string) (*UserInfo, error) {
	var out struct {
		Status
		UserInfo
	}
	err := c.do(ctx, http.MethodGet, "/cgi-bin/user/info", url.Values{"openid": {openID}}, nil, &out)
	return &out.UserInfo, err
}

// BatchUserInfo returns the profiles of up to 100 users.
func (c *Client) BatchUserInfo(ctx context.Context, openIDs []string) ([]UserInfo, error) {
	type user struct {
		OpenID string `json:"openid"`
	}
	in := struct {
		Users []user `json:"user_list"`
	}{make([]user, len(openIDs))}
	for i, id := range openIDs {
		in.Users[i].OpenID = id
	}
	var out struct {
		Status
		Users []UserInfo `json:"user_info_list"`
	}
	err := c.do(ctx, http.MethodPost, "/cgi-bin/user/info/batchget", url.Values{}, in, &out)
	return out.Users, err
}

// GetFans returns a page of followers.
func (c *Client) GetFans(ctx context.Context, nextOpenID string) (*Page, error) {
	query := url.Values{}
	if nextOpenID != "" {
		query.Set("next_openid", nextOpenID)
	}
	var out Page
	err := c.do(ctx, http.MethodGet, "/cgi-bin/user/get", query, nil, &out)
	return &out, err
}

// UpdateRemark sets the remark of a user.
func (c *Client) UpdateRemark(ctx context.Context, openID, remark string) error {
	in := struct {
		OpenID string `json:"openid"`
		Remark string `json:"remark"`
	}{openID, remark}
	var out Status
	return c.do(ctx, http.MethodPost, "/cgi-bin/user/info/updateremark", url.Values{}, in, &out)
}

// EachProfile calls each for the profiles of all followers. It makes one API call after the other.
func (c *Client) EachProfile(ctx context.Context, each func(UserInfo)) error {
	for cursor := ""; ; {
		page, err := c.GetFans(ctx, cursor)
		if err != nil || page.Count == 0 {
			return err
		}
		for ids := page.Data.OpenIDs; len(ids) > 0; ids = ids[min(100, len(ids)):] {
			users, err := c.BatchUserInfo(ctx, ids[:min(100, len(ids))])
			if err != nil {
				return err
			}
			for _, u := range users {
				each(u)
			}
		}
		cursor = page.NextOpenID
	}
}

func (c *Client) do(
	ctx context.Context, method, path string, query url.Values, in any, out interface{ Err() error },
) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	query.Set("access_token", c.Token)
	req, err := http.NewRequestWithContext(ctx, method, c.BaseURL+path+"?"+query.Encode(), body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %s", resp.Status)
	}
	if err := c.Decode(resp.Body, resp.ContentLength, out); err != nil {
		return err
	}
	return out.Err()
}
