package wechatusertest

import (
	"time"

	"github.com/wechatuser/wechatuser"
)

// disturbances are what a test has ordered for paths that it did not name one by one.
type disturbances struct {
	anyDelay  time.Duration
	anyFaults []fault
	partial   partialFailure
}

type faultKind int

const (
	noFault faultKind = iota
	refuse
	respondHTTP
	dropRequest
	dropAnswer
)

// fault is what happens to the next calls.
type fault struct {
	kind   faultKind
	left   int // calls
	code   wechatuser.Code
	status int
	body   string
}

type partialFailure struct {
	left    int
	openIDs map[string]bool
}

// everywhere reports whether a test means all calls but those for tokens.
func everywhere(path string) bool { return path == "" || path == "*" }

// FailNext refuses the next so many calls of a path with an errcode, whatever they ask, and does not carry them out.
// Path "*", or an empty one, stands for all calls but those for tokens, whose paths are "/cgi-bin/stable_token" and
// "/cgi-bin/token".
//
// Faults of a path are used up in the order in which they were ordered, before those of "*". If times is 0 or less, it
// takes back what is left of all of the path's faults. With 45171 all openids of the call are in fail_openid_list;
// [Server.FailOpenIDs] lets some of them succeed. It panics if no API has the path, as [Server.Delay] and
// [Server.Calls] do.
func (s *Server) FailNext(path string, code wechatuser.Code, times int) {
	s.schedule("FailNext", path, fault{kind: refuse, left: times, code: code})
}

// FailNextHTTP answers the next so many calls of a path with an HTTP status and a body, such as a gateway's page, and
// does not carry them out. Otherwise it is as [Server.FailNext].
func (s *Server) FailNextHTTP(path string, status int, body string, times int) {
	s.schedule("FailNextHTTP", path, fault{kind: respondHTTP, left: times, status: status, body: body})
}

// DropRequests ends the connection of the next so many calls of a path without an answer, and does not carry them out.
// Otherwise it is as [Server.FailNext].
func (s *Server) DropRequests(path string, times int) {
	s.schedule("DropRequests", path, fault{kind: dropRequest, left: times})
}

// DropAnswers carries out the next so many calls of a path, and ends their connection without an answer. Otherwise it
// is as [Server.FailNext].
func (s *Server) DropAnswers(path string, times int) {
	s.schedule("DropAnswers", path, fault{kind: dropAnswer, left: times})
}

func (s *Server) schedule(method, path string, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := &s.anyFaults
	if !everywhere(path) {
		queue = &s.route(method, path).faults
	}
	if f.left <= 0 {
		*queue = nil
		return
	}
	*queue = append(*queue, f)
}

// nextFault takes the fault for a call.
func (s *Server) nextFault(r *route) fault {
	if r == nil {
		return fault{}
	}
	queue := &r.faults
	if len(*queue) == 0 && !isTokenPath(r.path) {
		queue = &s.anyFaults
	}
	if len(*queue) == 0 {
		return fault{}
	}
	f := &(*queue)[0]
	if f.left--; f.left == 0 {
		*queue = (*queue)[1:]
	}
	return *f
}

// FailOpenIDs makes the next so many batchtagging and batchuntagging calls that name one of openIDs fail in part: they
// answer 45171 with those of openIDs that they named, and are carried out for the others. It replaces an earlier order.
func (s *Server) FailOpenIDs(times int, openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = partialFailure{left: times}
	if times <= 0 {
		return
	}
	s.partial.openIDs = make(map[string]bool, len(openIDs))
	for _, id := range openIDs {
		s.partial.openIDs[id] = true
	}
}

// Delay holds up each call of a path from now on, until it is set to 0. Path "*", or an empty one, stands for all calls
// but those for tokens and those whose path has a delay of its own. A call whose context ends while it waits is not
// carried out.
func (s *Server) Delay(path string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if everywhere(path) {
		s.anyDelay = d
	} else {
		s.route("Delay", path).delay = d
	}
}

func (s *Server) delayOf(r *route) time.Duration {
	if r.delay > 0 || isTokenPath(r.path) {
		return r.delay
	}
	return s.anyDelay
}

// Calls is how many requests a path has received, whatever came of them. Path "*", or an empty one, stands for all
// calls but those for tokens.
func (s *Server) Calls(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !everywhere(path) {
		return s.route("Calls", path).calls
	}
	n := 0
	for _, r := range s.routes {
		if !isTokenPath(r.path) {
			n += r.calls
		}
	}
	return n
}

// Advance moves the account's clock: tokens expire, quotas begin anew.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanced += d
}
