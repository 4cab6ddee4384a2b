package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
)

// peers are the columns of the table.
var peers = []peer{wechatuserPeer, silenceperPeer, silenceperStablePeer, chanxuehongPeer}

// peer is an SDK to measure.
type peer struct {
	name    string
	module  string
	pkgs    []string // packages that a program imports to make the calls of client
	connect func(account) (client, error)
}

// account is what a client is created from. HTTP sends requests for the platform to the simulator.
type account struct {
	AppID, Secret string
	HTTP          *http.Client
}

// client makes the calls that are measured.
type client interface {
	// Profile reads one follower's profile.
	Profile(ctx context.Context, openID string) error
	// Profiles reads the profiles of up to 100 followers and returns their number.
	Profiles(ctx context.Context, openIDs []string) (int, error)
	// Page reads the first page of followers and returns the number of openids on it.
	Page(ctx context.Context) (int, error)
	// Tag tags any number of openids, with the call of the SDK that comes closest.
	Tag(ctx context.Context, tagID int, openIDs []string) error
}

// redirect sends requests for the platform to the simulator. Requests to other hosts fail.
type redirect struct {
	*http.Transport
	host string
	last atomic.Pointer[url.URL] // of the latest request
}

// newRedirect returns a redirect to the simulator at the given URL.
func newRedirect(server string) (*redirect, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	// Enough idle connections for all concurrent calls, so that the pool does not affect the comparison.
	return &redirect{Transport: &http.Transport{MaxIdleConnsPerHost: 1_000}, host: u.Host}, nil
}

func (r *redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || req.URL.Host != "api.weixin.qq.com" {
		return nil, fmt.Errorf("unexpected request to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	r.last.Store(req.URL)
	u := *req.URL
	u.Scheme, u.Host = "http", r.host
	copied := *req
	copied.URL, copied.Host = &u, r.host
	return r.Transport.RoundTrip(&copied)
}
