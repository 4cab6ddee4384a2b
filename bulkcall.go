package wechatuser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// quotaPause is how long a job makes no call after the minute's quota was used up. A minute from then on is enough
	// wherever the platform's minutes begin.
	quotaPause = time.Minute
	// patience is how often a chunk is sent again for a refusal that should pass by itself.
	patience = 5
)

// work finds the outcome of each slot of a chunk, or else the reason to end the job.
func (j *job[R]) work(ctx context.Context, ch *chunk[R]) {
	slots := make([]*slot[R], len(ch.slots))
	for i := range slots {
		slots[i] = &ch.slots[i]
	}
	left := patience
	_, err := j.settle(ctx, slots, false, &left)
	if err == nil {
		return
	}
	why := j.stop(err)
	for _, s := range slots {
		if s.fate == undecided && s.maybe {
			s.end(lost, why)
		}
	}
}

// settle finds the outcome of these openids, with two calls at most for each halving on the way to one that is refused.
// accepted reports that the platform did not refuse them as a whole. After an error, which ends the job, some may have
// no outcome.
//
// guilty says that a refusal is due to one of them, so that asking about all of them is a call for nothing.
func (j *job[R]) settle(ctx context.Context, slots []*slot[R], guilty bool, left *int) (accepted bool, err error) {
	if !guilty || len(slots) == 1 {
		slots, err = j.call(ctx, slots, left)
		switch {
		case err == nil:
			return true, nil
		case !blamesOpenID(err):
			return false, err
		case len(slots) == 1:
			slots[0].end(refused, err)
			return false, nil
		}
	}
	half := len(slots) / 2
	accepted, err = j.settle(ctx, slots[:half], false, left)
	if err == nil {
		_, err = j.settle(ctx, slots[half:], accepted, left)
	}
	return false, err
}

// call makes one call, and makes it again as long as the refusal is one that passes. Without an error all slots have
// their outcome; after one, the slots that it gives back have none, unless no answer tells what became of them.
func (j *job[R]) call(ctx context.Context, slots []*slot[R], left *int) ([]*slot[R], error) {
	for {
		if err := j.turn(); err != nil {
			return slots, err
		}
		err := j.send(ctx, slots)
		if err == nil {
			return nil, nil
		}
		if errors.Is(err, ErrAmbiguous) {
			for _, s := range slots {
				s.maybe = true
			}
		}
		var refusal *Error
		isRefusal := errors.As(err, &refusal)
		switch {
		case tokenWait(err) > 0:
			if err := j.hold(ctx, tokenWait(err), err); err != nil {
				return slots, err
			}
		case isRefusal && refusal.Code == CodeSomeOpenIDsFailed && len(refusal.FailedOpenIDs) > 0:
			before := len(slots)
			slots = undone(slots, refusal.FailedOpenIDs)
			if len(slots) == before || *left == 0 { // the call has repeated them, and so it stays
				for _, s := range slots {
					s.end(refused, err)
				}
				return nil, nil
			}
			if err := j.again(ctx, refusal, err, left); err != nil {
				return slots, err
			}
		case isRefusal && judgeCode(refusal.Code) != unclear:
			if err = j.again(ctx, refusal, err, left); err != nil {
				return slots, err
			}
		default:
			if j.ep.write && !ofTokenAPI(err) && (ctx.Err() == nil || errors.Is(err, ErrAmbiguous)) {
				for _, s := range slots {
					s.end(lost, err)
				}
			}
			return slots, err
		}
	}
}

// undone are the slots that a call was not carried out for. It was for the others.
func undone[R any](slots []*slot[R], failed []string) []*slot[R] {
	var rest []*slot[R]
	for _, s := range slots {
		if slices.Contains(failed, s.openID) {
			rest = append(rest, s)
		} else {
			s.end(decided, nil)
		}
	}
	return rest
}

// errMisaligned: an answer does not tell who is who. The platform has been seen to leave openids out that it does not
// know, and then to mix up the others.
var errMisaligned = errors.New("the platform's answer has nothing about this openid: it is perhaps another account's")

// blamesOpenID reports whether a call failed because of some of its openids. The others are good then.
func blamesOpenID(err error) bool {
	var refusal *Error
	if !errors.As(err, &refusal) {
		return errors.Is(err, errMisaligned)
	}
	switch refusal.Code {
	case CodeInvalidOpenID, CodeInvalidOpenIDList, CodeOpenIDMismatch, CodeUserNotFound, CodeRequireSubscribe,
		CodeUserUnsubscribed, CodeTooManyTagsOnUser, CodeConcurrentTagging, CodeSomeOpenIDsFailed:
		return true
	}
	return false
}

// pace is what the calls of a job have in common: when the next one may be made, and whether.
type pace struct {
	c     *Client
	tagID int // the tag that the calls are about, below zero for none

	halt  context.Context // ends when no further call is to be made; those under way go on
	cease context.CancelFunc

	mu     sync.Mutex
	why    error     // the first reason to end the job, other than the end of the caller's context
	nextAt time.Time // no call before that

	asking   chan struct{} // held while somebody asks about the tag, which takes time
	tagKnown bool          // that tagFound says whether the tag exists
	tagFound bool
}

func newPace(c *Client, tagID int) *pace {
	return &pace{c: c, tagID: tagID, asking: make(chan struct{}, 1)}
}

// begin must go ahead of everything else. The caller ends ctx.
func (p *pace) begin(ctx context.Context) {
	p.halt, p.cease = context.WithCancel(ctx)
	p.why = nil
}

// stop ends the job for this reason, and gives the one that it ends for: that of who was first.
func (p *pace) stop(why error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.halt.Err() == nil {
		p.why = why
		p.cease()
	}
	return cmp.Or(p.why, why)
}

func (p *pace) halted() bool { return p.halt.Err() != nil }

// reason is why the job was stopped, nil if it was not.
func (p *pace) reason(caller context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != nil {
		return p.why
	}
	return ended(caller)
}

// turn waits until a call may be made.
func (p *pace) turn() error {
	for {
		p.mu.Lock()
		wait := time.Until(p.nextAt)
		p.mu.Unlock()
		if err := pause(p.halt, wait); err != nil || wait <= 0 {
			return err
		}
	}
}

// again waits until a refused call may be made once more, or gives the error that it is to end with.
func (p *pace) again(ctx context.Context, refusal *Error, err error, left *int) error {
	switch refusal.Code {
	case CodeMinuteQuotaExceeded:
		return p.hold(ctx, quotaPause, err)
	case CodeInvalidTagID:
		exists, findErr := p.tagExists(ctx)
		if findErr != nil {
			return fmt.Errorf("%w; whether the tag exists is not known: %w", err, findErr)
		}
		if !exists {
			return err
		}
	case CodeConcurrentTagging, CodeSomeOpenIDsFailed:
	default:
		return err
	}
	if *left == 0 {
		return err
	}
	*left--
	// The pauses go on growing where those between the attempts of a call have stopped.
	return pause(p.halt, p.c.retry.delay(p.c.retry.MaxAttempts+patience-1-*left))
}

// hold keeps all calls of the job back for a while, unless the context ends before.
func (p *pace) hold(ctx context.Context, d time.Duration, err error) error {
	at := time.Now().Add(d)
	if end, ok := ctx.Deadline(); ok && !at.Before(end) {
		return fmt.Errorf("%w before the next call may be made: %w", context.DeadlineExceeded, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.After(p.nextAt) {
		p.nextAt = at
	}
	return nil
}

// ofTokenAPI reports whether a call failed for want of a token, so that it was not sent.
func ofTokenAPI(err error) bool {
	var (
		refusal   *Error
		transport *TransportError
		response  *ResponseError
	)
	return errors.As(err, &refusal) && isTokenAPI(refusal.API) ||
		errors.As(err, &transport) && isTokenAPI(transport.API) ||
		errors.As(err, &response) && isTokenAPI(response.API)
}

// tokenWait is how long no token is to be had since too many were asked for; 0 where that is not the reason.
func tokenWait(err error) time.Duration {
	var be *budgetError
	if !errors.As(err, &be) || errors.Is(err, ErrCredential) {
		return 0
	}
	return be.wait
}

// tagExists asks the platform, once in a job, whether it knows the tag: it has been seen to deny tags that exist.
func (p *pace) tagExists(ctx context.Context) (bool, error) {
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-p.halt.Done():
		return false, ended(p.halt)
	}
	if p.tagKnown || p.tagID < 0 {
		return p.tagFound, nil
	}
	for {
		if err := p.turn(); err != nil {
			return false, err
		}
		tag, err := p.c.findTag(ctx, func(t Tag) bool { return t.ID == p.tagID })
		if err == nil {
			p.tagKnown, p.tagFound = true, tag != nil
			return p.tagFound, nil
		}
		wait := tokenWait(err)
		if errors.Is(err, CodeMinuteQuotaExceeded) {
			wait = quotaPause
		}
		if wait == 0 {
			return false, err
		}
		if err := p.hold(ctx, wait, err); err != nil {
			return false, err
		}
	}
}

// patiently is fetch, repeated as the calls of a job are.
func (p *pace) patiently(fetch pageFunc) pageFunc {
	return func(ctx context.Context, cursor string) (*OpenIDPage, error) {
		for left := patience; ; {
			if err := p.turn(); err != nil {
				return nil, err
			}
			page, err := fetch(ctx, cursor)
			if wait := tokenWait(err); wait > 0 {
				if err := p.hold(ctx, wait, err); err != nil {
					return nil, err
				}
				continue
			}
			var refusal *Error
			if err == nil || !errors.As(err, &refusal) {
				return page, err
			}
			if err := p.again(ctx, refusal, err, &left); err != nil {
				return nil, err
			}
		}
	}
}
