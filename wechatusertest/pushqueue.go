package wechatusertest

import (
	"container/heap"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"time"
)

const (
	pushAttempts = 3
	pushInterval = 5 * time.Second // between the attempts of a push
	pushTimeout  = 5 * time.Second // of an attempt
)

// push is a push in any state: waiting, being sent, or final.
type push struct {
	pushEvent
	rng    rng
	due    time.Time // of the next attempt, by the account's clock
	order  uint64    // among pushes that are due at the same time
	behind uint64    // by how many later pushes it may be overtaken; added to order
	held   bool      // whether it waits for another push, until it is due
	at     int       // index in the heap, or -1

	status     PushStatus
	attempts   int
	httpStatus int
	err        error
	reply      string
	repeated   bool
	oldKey     bool
}

// record returns the exported form of a push.
func (p *push) record() Push {
	r := Push{
		Time: time.Unix(p.created, 0), OpenID: p.openID, Event: p.event, Key: p.field(fieldKey),
		Status: p.status, Attempts: p.attempts, HTTPStatus: p.httpStatus, Reply: p.reply,
		Repeated: p.repeated, OldKey: p.oldKey,
	}
	if p.err != nil {
		r.Error = p.err.Error()
	}
	return r
}

// pushQueue holds the pushes of an account. Server.mu guards it.
type pushQueue struct {
	target     *pushTarget // nil if the account has no URL for pushes
	oldKey     []byte      // the AES key before the last change; nil if it was not changed
	keyChanged time.Time

	waiting pushHeap
	held    []*push            // pushes that are held back; they are in waiting too
	busy    map[string][]*push // for each user to whom a push is being sent, the other pushes that are due
	running int                // number of pushes that are being sent
	waiters int                // number of running calls of WaitPushes

	sent       []*push // the last pushes, oldest first
	pushCount  uint64
	pushTotals PushTotals

	sender   *pushSender // nil if no push is waiting
	handlers sync.WaitGroup
	closed   bool
}

// pushSender is the goroutine that starts attempts. It runs while there are pushes to send.
type pushSender struct {
	cancel context.CancelFunc // ends all attempts
	wake   chan struct{}
	done   chan struct{}
}

func (q *pushQueue) wakeSender() {
	if q.sender == nil {
		return
	}
	select {
	case q.sender.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// push sends a push in the background, if the account has a URL for pushes. s.mu is held.
func (s *Server) push(e pushEvent) {
	if s.target == nil || s.closed {
		return
	}
	now := s.now()
	e.created = now.Unix()
	p := &push{pushEvent: e, rng: s.pushRNG(&e), due: now}
	p.due = p.due.Add(p.rng.duration("PushDelay", s.cfg.quirks.PushDelay))
	if p.rng.chance("ReorderedPushes", s.cfg.quirks.ReorderedPushes) {
		p.held, p.due, p.behind = true, p.due.Add(pushInterval), 1+p.rng.stream("behind").Uint64N(10)
		s.held = append(s.held, p)
	}
	s.add(p)
}

// pushRNG returns the rng of a push. It depends only on the content of the push.
func (s *Server) pushRNG(e *pushEvent) rng {
	h := fnv.New64a()
	for _, text := range []string{"push", e.event, e.openID, e.field(fieldKey), e.xml} {
		_, _ = io.WriteString(h, text+"\n") // a hash never fails
	}
	return s.rngOf(h.Sum64())
}

// add adds a new push to the queue and to the log. s.mu is held.
func (s *Server) add(p *push) {
	s.pushCount++
	p.order, p.status = s.pushCount+p.behind, PushPending
	s.pushTotals.Pending++
	if s.cfg.logSize > 0 {
		if len(s.sent) >= s.cfg.logSize {
			s.sent = s.sent[1:]
		}
		s.sent = append(s.sent, p)
	}
	heap.Push(&s.waiting, p)
	if s.sender != nil {
		s.wakeSender()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.sender = &pushSender{cancel: cancel, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.send(ctx, s.sender)
}

// send starts attempts when they are due, until there are no more pushes.
func (s *Server) send(ctx context.Context, sender *pushSender) {
	defer close(sender.done)
	defer sender.cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.mu.Lock()
		wait, more := s.startAttempts(ctx)
		target := s.target
		if !more {
			s.sender = nil
		}
		s.mu.Unlock()
		if !more {
			target.closeIdle()
			return
		}
		timer.Stop()
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C: // if a clock of WithClock stands still, no push is due, and the sender waits again
		case <-sender.wake:
		}
	}
}

// startAttempts starts the attempts that are due. It returns the time until the next one is due, or 0 if the sender has
// to wait for running ones, and false if there are no more pushes. s.mu is held.
func (s *Server) startAttempts(ctx context.Context) (wait time.Duration, more bool) {
	now := s.now()
	if s.waiters > 0 && s.running == 0 && (len(s.waiting) == 0 || s.waiting[0].due.After(now)) {
		s.releaseHeld()
	}
	for len(s.waiting) > 0 && s.running < s.target.Concurrency {
		p := s.waiting[0]
		if p.due.After(now) {
			return p.due.Sub(now), true
		}
		heap.Pop(&s.waiting)
		p.held = false
		if behind, isBusy := s.busy[p.openID]; isBusy {
			s.busy[p.openID] = append(behind, p)
			continue
		}
		if s.busy == nil {
			s.busy = make(map[string][]*push)
		}
		s.busy[p.openID] = nil
		s.running++
		go s.attempt(ctx, p)
	}
	return 0, len(s.waiting) > 0 || s.running > 0
}

// releaseHeld makes the pushes that are held back due, after some later ones. s.mu is held.
func (s *Server) releaseHeld() {
	for _, p := range s.held {
		if p.held && p.at >= 0 {
			p.held, p.due = false, p.due.Add(-pushInterval)
			heap.Fix(&s.waiting, p.at)
		}
	}
	s.held = nil
}

// attempt makes one attempt to deliver a push.
func (s *Server) attempt(ctx context.Context, p *push) {
	s.mu.Lock()
	t, now, n := s.target, s.now(), p.attempts
	key, old := t.key, false
	if s.oldKey != nil && key != nil && now.Sub(s.keyChanged) < s.cfg.quirks.OldAESKey && p.rng.chance("OldAESKey", 0.5) {
		key, old = s.oldKey, true
	}
	s.mu.Unlock()

	r := &pushRequest{target: t, appID: s.AppID, key: key, handlers: &s.handlers}
	timed, cancel := context.WithTimeout(ctx, pushTimeout)
	status, reply, err := r.post(timed, &p.pushEvent, now, p.rng.stream(fmt.Sprint("attempt ", n)))
	if timed.Err() != nil && ctx.Err() == nil {
		status, reply, err = 0, "", errPushTimeout
	}
	cancel()

	s.mu.Lock()
	defer s.mu.Unlock()
	p.attempts++
	s.pushTotals.Attempts++
	p.httpStatus, p.reply, p.err, p.oldKey = status, reply, err, old
	s.finishAttempt(p, ctx.Err() != nil)
}

// finishAttempt sets the status of a push after an attempt, or schedules the next attempt. s.mu is held.
func (s *Server) finishAttempt(p *push, closed bool) {
	now := s.now()
	s.running--
	for _, behind := range s.busy[p.openID] {
		heap.Push(&s.waiting, behind)
	}
	delete(s.busy, p.openID)
	s.releaseHeld()
	switch {
	case p.err == nil:
		s.complete(p, PushDelivered)
		if !p.repeated && !closed && p.rng.chance("RepeatedPushes", s.cfg.quirks.RepeatedPushes) {
			again := p.rng
			again.seed = ^again.seed // another nonce
			s.add(&push{pushEvent: p.pushEvent, rng: again, due: now, repeated: true})
		}
	case closed:
		s.complete(p, PushDropped)
	case p.attempts == pushAttempts:
		s.complete(p, PushFailed)
	default:
		p.due = p.due.Add(pushInterval)
		heap.Push(&s.waiting, p)
	}
	s.wakeSender()
}

// complete sets the final status of a push. s.mu is held.
func (s *Server) complete(p *push, status PushStatus) {
	p.status = status
	s.pushTotals.Pending--
	switch status {
	case PushDelivered:
		s.pushTotals.Delivered++
	case PushFailed:
		s.pushTotals.Failed++
	default:
		s.pushTotals.Dropped++
	}
}

// WaitPushes waits until no push is pending. It returns an error if ctx ends first. The handler that receives the
// pushes must not call it.
//
// The account's clock determines when retries are due. If the clock stands still, call [Server.Advance] with ten
// seconds before WaitPushes, so that both retries of a failed push are due.
func (s *Server) WaitPushes(ctx context.Context) error {
	s.mu.Lock()
	sender := s.sender
	if sender == nil {
		s.mu.Unlock()
		return nil
	}
	s.waiters++
	s.wakeSender() // to release pushes that are held back
	s.mu.Unlock()
	var err error
	select {
	case <-sender.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters--
	if err != nil {
		return fmt.Errorf("wechatusertest: WaitPushes: %d pushes are pending: %w", s.pushTotals.Pending, err)
	}
	return nil
}

// closePushes ends all attempts, drops the pending pushes, and waits for the handlers.
func (s *Server) closePushes() {
	s.mu.Lock()
	s.closed = true
	for _, p := range s.waiting {
		s.complete(p, PushDropped)
	}
	for id, behind := range s.busy {
		for _, p := range behind {
			s.complete(p, PushDropped)
		}
		s.busy[id] = nil
	}
	s.waiting, s.held = nil, nil
	sender := s.sender
	s.mu.Unlock()
	if sender != nil {
		sender.cancel()
		<-sender.done
	}
	s.handlers.Wait()
}

// pushHeap is a heap of pushes; the one that is due first is on top.
type pushHeap []*push

// Len implements [heap.Interface].
func (h pushHeap) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h pushHeap) Less(i, k int) bool {
	if c := h[i].due.Compare(h[k].due); c != 0 {
		return c < 0
	}
	return h[i].order < h[k].order
}

// Swap implements [heap.Interface].
func (h pushHeap) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].at, h[k].at = i, k
}

// Push implements [heap.Interface].
func (h *pushHeap) Push(x any) {
	p := x.(*push)
	p.at = len(*h)
	*h = append(*h, p)
}

// Pop implements [heap.Interface].
func (h *pushHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.at = -1
	return p
}
