// Package origin is a server for measuring clients. It responds to the calls of the benchmarks as the platform does,
// with as little CPU time as possible, as it shares the machine with the client. It stores no data, so that an account
// can have any number of followers, and validates nothing; package wechatusertest enforces the platform's rules.
package origin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The paths that a server handles.
const (
	FansPath    = "/cgi-bin/user/get"
	InfoPath    = "/cgi-bin/user/info"
	BatchPath   = "/cgi-bin/user/info/batchget"
	RemarkPath  = "/cgi-bin/user/info/updateremark"
	TaggingPath = "/cgi-bin/tags/members/batchtagging"
	TagFansPath = "/cgi-bin/user/tag/get"
	TokenPath   = "/cgi-bin/stable_token"
)

// PageSize is the number of openids on a page of followers.
const PageSize = 10_000

type server struct {
	cfg   Config
	first []byte // the first page of followers, built in advance to keep that out of the measurements
	conns atomic.Int64
	calls map[string]*atomic.Int64
}

func newServer(cfg Config) *server {
	s := &server{cfg: cfg, calls: make(map[string]*atomic.Int64)}
	for _, path := range []string{FansPath, InfoPath, BatchPath, RemarkPath, TaggingPath, TagFansPath, TokenPath} {
		s.calls[path] = new(atomic.Int64)
	}
	s.first = AppendPage(nil, cfg.Fans, 0)
	return s
}

func (s *server) stats() Stats {
	st := Stats{Calls: make(map[string]int), Conns: int(s.conns.Load())}
	for path, n := range s.calls {
		if n := int(n.Load()); n > 0 {
			st.Calls[path] = n
		}
	}
	return st
}

func (s *server) serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		s.conns.Add(1)
		go s.serveConn(conn)
	}
}

// serveConn handles the requests of one connection. It costs less than net/http.
func (s *server) serveConn(conn net.Conn) {
	defer conn.Close()
	var (
		in        = bufio.NewReaderSize(conn, 16<<10)
		body, out []byte
		resp      []byte
	)
	for {
		target, length, err := readHead(in)
		if err != nil {
			return
		}
		body = slices.Grow(body[:0], length)[:length]
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		time.Sleep(s.cfg.Latency)
		resp, err = s.appendResponse(resp[:0], target, body)
		if err != nil {
			return
		}
		out = append(out[:0], "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"+
			"Content-Type: application/json; encoding=utf-8\r\n"+
			"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: "...)
		out = strconv.AppendInt(out, int64(len(resp)), 10)
		out = append(append(out, "\r\n\r\n"...), resp...)
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

var contentLength = []byte("Content-Length")

// readHead reads a request up to its body. It returns the target of the request line and the Content-Length.
func readHead(in *bufio.Reader) (target string, length int, err error) {
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			_, rest, _ := bytes.Cut(line, []byte(" "))
			uri, _, _ := bytes.Cut(rest, []byte(" "))
			target = string(uri)
		case len(line) == 0:
			return target, length, nil
		default:
			name, value, _ := bytes.Cut(line, []byte(":"))
			if bytes.EqualFold(name, contentLength) {
				if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
					return "", 0, err
				}
			}
		}
	}
}

// foreignPrefix is the prefix of openids of another account, as wechatusertest.ForeignOpenID returns them.
var foreignPrefix = []byte(wechatusertest.ForeignOpenID(0)[:6])

var errUnknownPath = errors.New("origin: unknown path")

// appendResponse appends the body of the response to a request.
func (s *server) appendResponse(dst []byte, target string, body []byte) ([]byte, error) {
	path, query, _ := strings.Cut(target, "?")
	count := s.calls[path]
	if count == nil {
		return nil, errUnknownPath
	}
	count.Add(1)
	switch path {
	case TokenPath:
		return append(dst, `{"access_token":"ACCESS-TOKEN-FOR-BENCHMARKS","expires_in":7200}`...), nil
	case FansPath:
		after, err := followersUpTo(parameter(query, "next_openid"))
		if err != nil {
			return nil, err
		}
		if after == 0 {
			return append(dst, s.first...), nil
		}
		return AppendPage(dst, s.cfg.Fans, after), nil
	case TagFansPath: // the last n of all followers have the tag
		after := max(0, s.cfg.Fans-s.cfg.Tagged)
		if _, rest, found := bytes.Cut(body, []byte(`"next_openid":"`)); found && rest[0] != '"' {
			last, _, _ := bytes.Cut(rest, []byte(`"`))
			var err error
			if after, err = followersUpTo(string(last)); err != nil {
				return nil, err
			}
		}
		return AppendPage(dst, s.cfg.Fans, after), nil
	case InfoPath:
		return AppendProfile(dst, parameter(query, "openid")), nil
	case BatchPath:
		dst = AppendProfiles(dst, body)
		if s.cfg.Escapes {
			dst = escapeFirst(dst)
		}
		return dst, nil
	case TaggingPath:
		if bytes.Contains(body, foreignPrefix) {
			return append(dst, `{"errcode":49003,"errmsg":"not match openid with appid"}`...), nil
		}
	}
	return append(dst, `{"errcode":0,"errmsg":"ok"}`...), nil
}

// parameter returns a value of a query. It does not unescape it.
func parameter(query, name string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value
		}
	}
	return ""
}

// followersUpTo returns the number of followers up to and including openID, which is one more than the number in it.
func followersUpTo(openID string) (int, error) {
	if openID == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(openID[strings.LastIndexByte(openID, '_')+1:])
	return n + 1, err
}

// AppendPage appends the page that begins after that many followers, for an account with fans followers.
func AppendPage(dst []byte, fans, after int) []byte {
	end := min(after+PageSize, fans)
	dst = append(dst, `{"total":`...)
	dst = strconv.AppendInt(dst, int64(fans), 10)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, int64(max(end-after, 0)), 10)
	if end <= after {
		return append(dst, `,"next_openid":""}`...)
	}
	dst = append(dst, `,"data":{"openid":[`...)
	for i := after; i < end; i++ {
		if i > after {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), wechatusertest.OpenID(i)...), '"')
	}
	dst = append(dst, `]},"next_openid":"`...)
	return append(append(dst, wechatusertest.OpenID(end-1)...), `"}`...)
}

// AppendProfile appends a profile as the platform sends it today: without a nickname, with tags.
func AppendProfile(dst []byte, openID string) []byte {
	dst = append(append(dst, `{"subscribe":1,"openid":"`...), openID...)
	dst = append(dst, `","nickname":"","sex":0,"language":"zh_CN","city":"","province":"","country":"","headimgurl":"",`+
		`"subscribe_time":1641364601,"unionid":"`...)
	dst = append(append(dst, 'u'), openID[min(1, len(openID)):]...)
	return append(dst, `","remark":"常客","groupid":100,"tagid_list":[100,101],"subscribe_scene":"ADD_SCENE_QR_CODE",`+
		`"qr_scene":98765,"qr_scene_str":""}`...)
}

// AppendProfiles appends the profiles that the body of a batchget request asks for.
func AppendProfiles(dst, body []byte) []byte {
	dst = append(dst, `{"user_info_list":[`...)
	for n := 0; ; n++ {
		const key = `"openid":"`
		i := bytes.Index(body, []byte(key))
		if i < 0 {
			return append(dst, `]}`...)
		}
		openID, rest, _ := bytes.Cut(body[i+len(key):], []byte(`"`))
		if body = rest; n > 0 {
			dst = append(dst, ',')
		}
		dst = AppendProfile(dst, string(openID))
	}
}

// escapeFirst replaces the remark of the first profile by one with escapes, as the platform writes them.
func escapeFirst(body []byte) []byte {
	return bytes.Replace(body, []byte(`"remark":"常客"`), []byte(`"remark":"a\/b \ud83d\ude00"`), 1)
}

// Local is the server as a transport in this process, without a network. It is for tests that count, and for virtual
// time in testing/synctest.
type Local struct{ s *server }

// NewLocal returns a transport that acts as a server with the given account.
func NewLocal(cfg Config) Local { return Local{newServer(cfg)} }

// Stats returns what the server has counted so far.
func (l Local) Stats() Stats { return l.s.stats() }

// RoundTrip implements http.RoundTripper.
func (l Local) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := drain(req)
	if err != nil {
		return nil, err
	}
	if l.s.cfg.Latency > 0 {
		wait := time.NewTimer(l.s.cfg.Latency)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	resp, err := l.s.appendResponse(nil, req.URL.RequestURI(), body)
	if err != nil {
		return nil, err
	}
	return newResponse(req, resp), nil
}

// Canned is a transport that responds to every request at once with the same body.
type Canned []byte

// RoundTrip implements http.RoundTripper.
func (c Canned) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, err := drain(req); err != nil {
		return nil, err
	}
	return newResponse(req, c), nil
}

// drain reads and closes the body of a request.
func drain(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	return io.ReadAll(req.Body)
}

func newResponse(req *http.Request, body []byte) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json; encoding=utf-8"}},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       req,
	}
}
