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
	// FaultErrcode fails the call with the errcode Code. The call is not carried out.
	FaultErrcode FaultKind = "errcode"
	// FaultHTTP responds with Status and Body, such as a gateway's error page. The call is not carried out.
	FaultHTTP FaultKind = "http"
	// FaultDelay delays the call by Delay and has no other effect.
	FaultDelay FaultKind = "delay"
	// FaultDropRequest closes the connection without a response. The call is not carried out.
	FaultDropRequest FaultKind = "drop request"
	// FaultDropAnswer carries the call out, then closes the connection without a response.
	FaultDropAnswer FaultKind = "drop answer"
	// FaultCutBody carries the call out, then closes the connection in the middle of the response body.
	FaultCutBody FaultKind = "cut body"
	// FaultGarbage carries the call out, then responds with Body in place of JSON. If Body is empty, it sends some
	// bytes that are neither JSON nor UTF-8.
	FaultGarbage FaultKind = "garbage"
)

// Fault makes calls fail, or delays them.
type Fault struct {
	// Path is the path or the official name of the API. "*" or an empty Path matches all calls except token requests,
	// whose paths are "/cgi-bin/stable_token" and "/cgi-bin/token".
	Path string    `json:"path"`
	Kind FaultKind `json:"kind"`
	// After is the number of calls to let pass before the fault begins. Calls hit by an earlier fault do not count.
	After int `json:"after,omitempty"`
	// Times is the number of calls that the fault hits; 0 means no limit.
	Times int `json:"times,omitempty"`
	// For is how long the fault lasts, in the account's time, from the first call that it hits; 0 means no limit. The
	// platform has failed some calls with -1 for ten minutes, and at times for hours.
	For time.Duration `json:"for,omitempty"`
	// Probability is the probability, from 0 to 1, that the fault hits a call; 0 stands for 1, so every call is hit.
	// [WithSeed] determines which calls are hit.
	Probability float64 `json:"probability,omitempty"`
	// Delay delays the call before anything else happens, for each kind of fault.
	Delay time.Duration `json:"delay,omitempty"`

	Code   wechatuser.Code `json:"code,omitempty"`   // for FaultErrcode
	Status int             `json:"status,omitempty"` // for FaultHTTP
	Body   string          `json:"body,omitempty"`   // for FaultHTTP and FaultGarbage
}

// Check returns an error if the fault is invalid. [Server.Fault] panics on such a fault.
func (f Fault) Check() error {
	if !isAnyPath(f.Path) {
		if _, err := findPath(f.Path); err != nil {
			return err
		}
	}
	return f.checkRest()
}

// checkRest is Check without the path.
func (f Fault) checkRest() error {
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
		return fmt.Errorf("unknown kind of fault %q", string(f.Kind))
	}
	switch {
	case !(f.Probability >= 0 && f.Probability <= 1):
		return fmt.Errorf("the Probability of a fault must be from 0 to 1, not %v", f.Probability)
	case f.After < 0 || f.Times < 0 || f.Delay < 0 || f.For < 0:
		return errors.New("a fault's After, Times, Delay and For must not be negative")
	}
	return nil
}

// String describes the fault in one line, such as "errcode -1 to 3 calls of /cgi-bin/user/get".
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
	switch f.Times {
	case 0:
		text += " to all calls"
	case 1:
		text += " to 1 call"
	default:
		text += fmt.Sprintf(" to %d calls", f.Times)
	}
	if !isAnyPath(f.Path) {
		text += " of " + f.Path
	}
	if f.For > 0 {
		text += " for " + f.For.String()
	}
	if f.After > 0 {
		text += fmt.Sprintf(", skipping the first %d", f.After)
	}
	if f.Probability > 0 && f.Probability < 1 {
		text += fmt.Sprintf(", with probability %v", f.Probability)
	}
	return text
}

// faultState holds the faults and delays that a test has set.
type faultState struct {
	faults          []fault
	faultsAdded     int           // number of faults ever added
	defaultDelay    time.Duration // for paths without a delay of their own
	partial         partialFailure
	refusedProfiles map[string]wechatuser.Code // by openid
}

type fault struct {
	Fault
	id    string    // name of its random decisions
	until time.Time // zero until it hits a call, and without For
}

func (f *fault) hasEnded(now time.Time) bool { return !f.until.IsZero() && !now.Before(f.until) }

// partialFailure is set by FailOpenIDs.
type partialFailure struct {
	remaining int // number of calls
	openIDs   map[string]bool
}

// isAnyPath reports whether path stands for all calls except token requests.
func isAnyPath(path string) bool { return path == "" || path == "*" }

// Fault adds a fault.
//
// At most one fault hits a call: the first one that applies, in the order in which they were added. Faults of the
// call's path take precedence over faults of all paths, and these take precedence over HTMLErrors and SystemBusy of
// [Quirks].
//
// It panics if [Fault.Check] returns an error, for example because no API has the path.
func (s *Server) Fault(f Fault) { s.addFault("Fault", f) }

func (s *Server) addFault(method string, f Fault) {
	check := f.Check
	if s.hasRoute(f.Path) {
		check = f.checkRest
	}
	if err := check(); err != nil {
		panic("wechatusertest: " + method + ": " + err.Error())
	}
	f.Path = s.mustResolvePath(method, f.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faultsAdded++
	s.faults = append(s.faults, fault{Fault: f, id: "fault " + strconv.Itoa(s.faultsAdded)})
}

// Faults returns the faults that can still hit calls, in the order in which they were added. Their After and Times are
// what remains.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	remaining := make([]Fault, 0, len(s.faults))
	for i := range s.faults {
		if f := &s.faults[i]; !f.hasEnded(s.now()) {
			remaining = append(remaining, f.Fault)
		}
	}
	return remaining
}

// ClearFaults removes all faults and delays, including those of [Server.FailOpenIDs] and [Server.RefuseProfiles]. It
// does not change [Quirks].
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.defaultDelay, s.partial, s.refusedProfiles = nil, 0, partialFailure{}, nil
	for _, r := range s.routes {
		r.delay = 0
	}
}

// FailNext makes the next calls of a path fail with an errcode. They are not carried out. It is a short form of
// [Server.Fault].
//
// If times is 0 or less, it removes all faults of the path. With 45171, fail_openid_list holds all openids of the call;
// use [Server.FailOpenIDs] to let some of them succeed. It panics if code is 0 or if no API has the path.
func (s *Server) FailNext(path string, code wechatuser.Code, times int) {
	s.addOrClearFaults("FailNext", Fault{Path: path, Kind: FaultErrcode, Code: code, Times: times})
}

// FailNextHTTP responds to the next calls of a path with an HTTP status and a body, such as a gateway's error page. The
// calls are not carried out. If times is 0 or less, it removes all faults of the path. It panics if the status is not
// from 200 to 599 or if no API has the path.
func (s *Server) FailNextHTTP(path string, status int, body string, times int) {
	s.addOrClearFaults("FailNextHTTP", Fault{Path: path, Kind: FaultHTTP, Status: status, Body: body, Times: times})
}

// DropRequests closes the connections of the next calls of a path without a response. The calls are not carried out. If
// times is 0 or less, it removes all faults of the path. It panics if no API has the path.
func (s *Server) DropRequests(path string, times int) {
	s.addOrClearFaults("DropRequests", Fault{Path: path, Kind: FaultDropRequest, Times: times})
}

// DropAnswers carries out the next calls of a path, then closes their connections without a response. If times is 0 or
// less, it removes all faults of the path. It panics if no API has the path.
func (s *Server) DropAnswers(path string, times int) {
	s.addOrClearFaults("DropAnswers", Fault{Path: path, Kind: FaultDropAnswer, Times: times})
}

// addOrClearFaults adds a fault, or removes the faults of its path if Times is 0 or less.
func (s *Server) addOrClearFaults(method string, f Fault) {
	if f.Times > 0 {
		s.addFault(method, f)
		return
	}
	path := s.mustResolvePath(method, f.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(old fault) bool {
		return old.Path == path || isAnyPath(old.Path) && isAnyPath(path)
	})
}

// takeFault returns the fault that hits a call, and counts it. It returns the zero Fault if there is none.
func (s *Server) takeFault(c *call) Fault {
	s.faults = slices.DeleteFunc(s.faults, func(f fault) bool { return f.hasEnded(c.arrived) })
	ofPath := func(f *fault) bool { return f.Path == c.path }
	ofAnyPath := func(f *fault) bool { return isAnyPath(f.Path) && !isTokenPath(c.path) }
	for _, matches := range []func(*fault) bool{ofPath, ofAnyPath} {
		for i := range s.faults {
			f := &s.faults[i]
			switch {
			case !matches(f):
			case f.After > 0:
				f.After--
			case c.rng.chance(f.id, cmp.Or(f.Probability, 1)):
				hit := f.Fault
				if f.For > 0 && f.until.IsZero() {
					f.until = c.arrived.Add(f.For)
				}
				if f.Times == 1 {
					s.faults = slices.Delete(s.faults, i, i+1)
				} else if f.Times > 1 {
					f.Times--
				}
				return hit
			}
		}
	}
	return Fault{}
}

// gatewayPage is the response body of HTMLErrors.
const gatewayPage = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n" +
	"<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"

// quirkFault returns the fault that the account's quirks cause for a call. It returns the zero Fault if there is none.
func (s *Server) quirkFault(c *call) Fault {
	switch q := &s.cfg.quirks; {
	case c.rng.chance("HTMLErrors", q.HTMLErrors):
		return Fault{Kind: FaultHTTP, Status: http.StatusBadGateway, Body: gatewayPage}
	case c.rng.chance("SystemBusy", q.SystemBusy):
		return Fault{Kind: FaultErrcode, Code: wechatuser.CodeSystemBusy}
	}
	return Fault{}
}

// FailOpenIDs makes the next batchtagging and batchuntagging calls that contain one of openIDs fail in part: they
// return 45171 with these openids in fail_openid_list, and are carried out for the others. Times is the number of such
// calls. It replaces the setting of an earlier FailOpenIDs call.
func (s *Server) FailOpenIDs(times int, openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = partialFailure{remaining: times}
	if times <= 0 {
		return
	}
	s.partial.openIDs = make(map[string]bool, len(openIDs))
	for _, id := range openIDs {
		s.partial.openIDs[id] = true
	}
}

// RefuseProfiles makes userInfo and batchUserinfo calls that contain one of openIDs fail with code, as if the platform
// did not have the profile. A batch fails as a whole. It replaces the setting of an earlier RefuseProfiles call;
// without openIDs it only removes that. It panics if code is 0.
func (s *Server) RefuseProfiles(code wechatuser.Code, openIDs ...string) {
	if code == 0 {
		panic("wechatusertest: RefuseProfiles: the code must not be 0")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusedProfiles = make(map[string]wechatuser.Code, len(openIDs))
	for _, id := range openIDs {
		s.refusedProfiles[id] = code
	}
}

// Delay delays all further calls of a path by d; 0 ends the delay. "*" or an empty path stands for all calls except
// token requests and calls of a path with a delay of its own. A call whose context ends during the delay is not carried
// out. It panics if no API has the path.
func (s *Server) Delay(path string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isAnyPath(path) {
		s.defaultDelay = d
	} else {
		s.route("Delay", path).delay = d
	}
}

func (s *Server) delayFor(r *route) time.Duration {
	if r.delay > 0 || isTokenPath(r.path) {
		return r.delay
	}
	return s.defaultDelay
}
