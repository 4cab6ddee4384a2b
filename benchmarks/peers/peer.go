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

// peer is an SDK.
type peer struct {
	name    string
	module  string
	pkgs    []string // what a program must import for the calls of client
	connect func(account) (client, error)
}

// account is what a client is made of. HTTP sends to the simulator what is meant for the platform.
type account struct {
	AppID, Secret string
	HTTP          *http.Client
}

// client is the calls that are measured.
type client interface {
	// Profile gets one follower's profile.
	Profile(ctx context.Context, openID string) error
	// Page gets the first page of followers, and returns how many it has.
	Page(ctx context.Context) (int, error)
	// Tag gives the tag to any number of openids, in the way that comes nearest to it.
	Tag(ctx context.Context, tagID int, openIDs []string) error
}

// redirect sends requests for the platform to the simulator. For any other host it fails.
type redirect struct {
	*http.Transport
	host string
	last atomic.Pointer[url.URL] // what was asked for last
}

// newRedirect takes the URL of the simulator.
func newRedirect(server string) (*redirect, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	// Enough idle connections for a crowd, so that the pool is no part of what is compared.
	return &redirect{Transport: &http.Transport{MaxIdleConnsPerHost: 1_000}, host: u.Host}, nil
}

func (r *redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || req.URL.Host != "api.weixin.qq.com" {
		return nil, fmt.Errorf("a request to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	r.last.Store(req.URL)
	u := *req.URL
	u.Scheme, u.Host = "http", r.host
	copied := *req
	copied.URL, copied.Host = &u, r.host
	return r.Transport.RoundTrip(&copied)
}
