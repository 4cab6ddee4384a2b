package wechatusertest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wechatuser/wechatuser"
)

// FaultKind says what a [Fault] does to a call.
type FaultKind string

// The kinds of faults.
const (
	// FaultErrcode refuses the call with Code, whatever it asks.
	FaultErrcode FaultKind = "errcode"
	// FaultHTTP answers with Status and Body, such as a gateway's page. The call is not carried out.
	FaultHTTP FaultKind = "http"
	// FaultDelay only holds the call up, for Delay.
	FaultDelay FaultKind = "delay"
	// FaultDropRequest ends the connection without an answer. The call is not carried out.
	FaultDropRequest FaultKind = "drop request"
	// FaultDropAnswer carries the call out, and ends the connection without an answer.
	FaultDropAnswer FaultKind = "drop answer"
	// FaultCutBody carries the call out, and ends the connection in the middle of the answer.
	FaultCutBody FaultKind = "cut body"
	// FaultGarbage carries the call out, and answers with Body in place of JSON, or with some bytes if that is empty.
	FaultGarbage FaultKind = "garbage"
)

// Fault is something that goes wrong with calls.
type Fault struct {
	// Path is the calls' path or official name. "*", or an empty one, stands for all calls but those for tokens, whose
	// paths are "/cgi-bin/stable_token" and "/cgi-bin/token".
	Path string    `json:"path"`
	Kind FaultKind `json:"kind"`
	// After is how many calls it lets pass first. Calls that an earlier fault meets do not count.
	After int `json:"after,omitempty"`
	// Times is how many calls it meets; 0 for no end.
	Times int `json:"times,omitempty"`
	// Probability is that of meeting a call after those, from 0 to 1; 0 stands for 1, which is each. [WithSeed] says which
	// calls.
	Probability float64 `json:"probability,omitempty"`
	// Delay holds the call up before, with each kind.
	Delay time.Duration `json:"delay,omitempty"`

	Code   wechatuser.Code `json:"code,omitempty"`   // of FaultErrcode
	Status int             `json:"status,omitempty"` // of FaultHTTP
	Body   string          `json:"body,omitempty"`   // of FaultHTTP and FaultGarbage
}

// Check says what is wrong with a fault. [Server.Fault] panics with it.
func (f Fault) Check() error {
	if !everywhere(f.Path) {
		if _, err := findPath(f.Path); err != nil {
			return err
		}
	}
	switch f.Kind {
	case FaultErrcode:
		if f.Code == 0 {
			return errors.New("a fault with an errcode needs a Code")
		}
	case FaultHTTP:
		if f.Status < 200 || f.Status > 599 {
			return fmt.Errorf("a fault with an HTTP status needs a Status from 200 to 599, not %d", f.Status)
		}
	case FaultDelay:
		if f.Delay == 0 {
			return errors.New("a fault with a delay needs a Delay")
		}
	case FaultDropRequest, FaultDropAnswer, FaultCutBody, FaultGarbage:
	default:
		return fmt.Errorf("there is no kind of fault %q", string(f.Kind))
	}
	switch {
	case !(f.Probability >= 0 && f.Probability <= 1):
		return fmt.Errorf("the Probability %v is not from 0 to 1", f.Probability)
	case f.After < 0 || f.Times < 0 || f.Delay < 0:
		return errors.New("a fault's After, Times and Delay must not be below 0")
	}
	return nil
}

// String is the fault in one line, such as "errcode -1 to 3 calls of /cgi-bin/user/get".
func (f Fault) String() string {
	text := string(f.Kind)
	switch f.Kind {
	case FaultErrcode:
		text += " " + strconv.Itoa(int(f.Code))
	case FaultHTTP:
		text += " " + strconv.Itoa(f.Status)
	}
	if f.Delay > 0 {
		text += " after " + f.Delay.String()
	}
	if f.Times > 0 {
		text += fmt.Sprintf(" to %d calls", f.Times)
	} else {
		text += " to all calls"
	}
	if !everywhere(f.Path) {
		text += " of " + f.Path
	}
	if f.Probability > 0 && f.Probability < 1 {
		text += fmt.Sprintf(", each with probability %v", f.Probability)
	}
	if f.After > 0 {
		text += fmt.Sprintf(", but not the first %d", f.After)
	}
	return text
}

// disturbances are what a test has ordered.
type disturbances struct {
	faults    []fault
	scheduled int // faults that there ever were
	anyDelay  time.Duration
	partial   partialFailure
	refused   map[string]wechatuser.Code // of profiles, by openid
}

type fault struct {
	Fault
	id string // what its dice are asked about
}

type partialFailure struct {
	left    int
	openIDs map[string]bool
}

// everywhere reports whether a test means all calls but those for tokens.
func everywhere(path string) bool { return path == "" || path == "*" }

// Fault makes calls go wrong. Of several faults a call meets the first that applies, in the order in which they were
// given: those of its path before those of all paths, and these before HTMLErrors and SystemBusy of [Quirks]. It panics on
// a fault that does not pass [Fault.Check], such as one with a path that no API has.
func (s *Server) Fault(f Fault) { s.schedule("Fault", f) }

func (s *Server) schedule(method string, f Fault) {
	if err := f.Check(); err != nil {
		panic("wechatusertest: " + method + ": " + err.Error())
	}
	f.Path = pathOrAll(method, f.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduled++
	s.faults = append(s.faults, fault{f, "fault " + strconv.Itoa(s.scheduled)})
}

// Faults are the faults that are not used up, with what is left of them, by path.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := make([]Fault, len(s.faults))
	for i, f := range s.faults {
		left[i] = f.Fault
	}
	return left
}

// ClearFaults takes back all faults and delays, and what [Server.FailOpenIDs] and [Server.RefuseProfiles] have ordered.
// [Quirks] stay.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.anyDelay, s.partial, s.refused = nil, 0, partialFailure{}, nil
	for _, r := range s.routes {
		r.delay = 0
	}
}

// FailNext refuses the next so many calls of a path with an errcode, whatever they ask, and does not carry them out: a
// short form of [Server.Fault].
//
// If times is 0 or less, it takes back what is left of all of the path's faults. With 45171 all openids of the call are
// in fail_openid_list; [Server.FailOpenIDs] lets some of them succeed. It panics on a code of 0, and if no API has the
// path, as [Server.Delay] and [Server.Calls] do.
func (s *Server) FailNext(path string, code wechatuser.Code, times int) {
	s.failNext("FailNext", Fault{Path: path, Kind: FaultErrcode, Code: code, Times: times})
}

// FailNextHTTP answers the next so many calls of a path with an HTTP status and a body, such as a gateway's page, and
// does not carry them out. Otherwise it is as [Server.FailNext].
func (s *Server) FailNextHTTP(path string, status int, body string, times int) {
	s.failNext("FailNextHTTP", Fault{Path: path, Kind: FaultHTTP, Status: status, Body: body, Times: times})
}

// DropRequests ends the connection of the next so many calls of a path without an answer, and does not carry them out.
// Otherwise it is as [Server.FailNext].
func (s *Server) DropRequests(path string, times int) {
	s.failNext("DropRequests", Fault{Path: path, Kind: FaultDropRequest, Times: times})
}

// DropAnswers carries out the next so many calls of a path, and ends their connection without an answer. Otherwise it
// is as [Server.FailNext].
func (s *Server) DropAnswers(path string, times int) {
	s.failNext("DropAnswers", Fault{Path: path, Kind: FaultDropAnswer, Times: times})
}

// failNext schedules a fault for so many calls, or takes back the faults of its path.
func (s *Server) failNext(method string, f Fault) {
	if f.Times > 0 {
		s.schedule(method, f)
		return
	}
	path := pathOrAll(method, f.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(old fault) bool {
		return old.Path == path || everywhere(old.Path) && everywhere(path)
	})
}

// takeFault finds what goes wrong with a call.
func (s *Server) takeFault(c *call) Fault {
	ofPath := func(f *fault) bool { return f.Path == c.path }
	ofAll := func(f *fault) bool { return everywhere(f.Path) && !isTokenPath(c.path) }
	for _, meets := range []func(*fault) bool{ofPath, ofAll} {
		for i := range s.faults {
			f := &s.faults[i]
			switch {
			case !meets(f):
			case f.After > 0:
				f.After--
			case c.dice.chance(f.id, cmp.Or(f.Probability, 1)):
				met := f.Fault
				if f.Times == 1 {
					s.faults = slices.Delete(s.faults, i, i+1)
				} else if f.Times > 1 {
					f.Times--
				}
				return met
			}
		}
	}
	return Fault{}
}

// gatewayPage is what HTMLErrors answers with.
const gatewayPage = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"

// badLuck is the fault that the account's quirks have for a call.
func (s *Server) badLuck(c *call) Fault {
	switch q := &s.cfg.quirks; {
	case c.dice.chance("HTMLErrors", q.HTMLErrors):
		return Fault{Kind: FaultHTTP, Status: http.StatusBadGateway, Body: gatewayPage}
	case c.dice.chance("SystemBusy", q.SystemBusy):
		return Fault{Kind: FaultErrcode, Code: wechatuser.CodeSystemBusy}
	}
	return Fault{}
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

// RefuseProfiles makes userInfo and batchUserinfo calls that name one of openIDs be refused with code, as if the platform
// did not have this profile: a batch as a whole. It replaces an earlier order; without openIDs it takes that back.
func (s *Server) RefuseProfiles(code wechatuser.Code, openIDs ...string) {
	if code == 0 {
		panic("wechatusertest: RefuseProfiles: a refusal needs a code")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = make(map[string]wechatuser.Code, len(openIDs))
	for _, id := range openIDs {
		s.refused[id] = code
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
