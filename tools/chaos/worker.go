package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// worker does one job after the other, as a program would that uses the package.
type worker struct {
	*chaos
	name   string
	rng    *rand.Rand
	client int    // which one
	ran    *phase // of the last job
}

// shelf is a tag or the blacklist, which one worker alone changes.
type shelf struct {
	name   string
	model  set             // who should be on it
	actual func() []string // who is

	change func(ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error], opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error)
	sync   func(ctx context.Context, c *wechatuser.Client, openIDs iter.Seq2[string, error], opts ...wechatuser.SyncOption) (*wechatuser.SyncReport, error)
	list   func(ctx context.Context, c *wechatuser.Client, opts ...wechatuser.ListOption) iter.Seq2[string, error]
}

func (ch *chaos) tagShelf(name string) *shelf {
	tagID := ch.account.AddTag(name)
	return &shelf{
		name: name, model: make(set),
		actual: func() []string { return ch.account.TagFans(tagID) },
		change: func(ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error], opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
			if add {
				return c.BulkTagging(ctx, tagID, openIDs, opts...)
			}
			return c.BulkUntagging(ctx, tagID, openIDs, opts...)
		},
		sync: func(ctx context.Context, c *wechatuser.Client, openIDs iter.Seq2[string, error], opts ...wechatuser.SyncOption) (*wechatuser.SyncReport, error) {
			return c.SyncTag(ctx, tagID, openIDs, opts...)
		},
		list: func(ctx context.Context, c *wechatuser.Client, opts ...wechatuser.ListOption) iter.Seq2[string, error] {
			return c.AllTagFans(ctx, tagID, opts...)
		},
	}
}

func (ch *chaos) blacklist() *shelf {
	return &shelf{
		name: "blacklist", model: make(set),
		actual: ch.account.Blacklist,
		change: func(ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error], opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
			if add {
				return c.BulkBlacklist(ctx, openIDs, opts...)
			}
			return c.BulkUnblacklist(ctx, openIDs, opts...)
		},
		sync: func(ctx context.Context, c *wechatuser.Client, openIDs iter.Seq2[string, error], opts ...wechatuser.SyncOption) (*wechatuser.SyncReport, error) {
			return c.SyncBlacklist(ctx, openIDs, opts...)
		},
		list: func(ctx context.Context, c *wechatuser.Client, opts ...wechatuser.ListOption) iter.Seq2[string, error] {
			return c.AllBlacklist(ctx, opts...)
		},
	}
}

func (s *shelf) members() set { return setOf(s.actual()) }

// accepts reports whether the account puts such an openid on a shelf, or takes it off.
func accepts(k kind, add bool) bool { return k == fan || k == gone && !add }

// keep changes a shelf until the storm is over.
func (w *worker) keep(s *shelf) {
	for w.gate.storm.Load() {
		switch n := w.rng.IntN(10); {
		case n < 4:
			w.change(s, true)
		case n < 6:
			w.change(s, false)
		case n < 8:
			w.sync(s)
		default:
			w.list(s)
		}
		w.compare(s)
	}
}

// compare checks the account against the model.
func (ch *chaos) compare(s *shelf) {
	actual := s.members()
	ch.isLost(s.model.less(actual), "%s should have them", s.name)
	ch.isDoubled(actual.less(s.model), "%s should not have them", s.name)
	s.model = actual // so that each difference is told once
}

// once runs a job one time, now and then with little time for it.
func (w *worker) once(do func(ctx context.Context, c *wechatuser.Client, t *task)) {
	w.ran = w.phase.Load()
	ctx, cancel := context.WithCancel(w.ran.ctx)
	defer cancel()
	if w.gate.storm.Load() && w.rng.IntN(8) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.rng.Int64N(int64(2*time.Second))))
		defer cancel()
	}
	t := w.gate.begin()
	defer w.gate.end(t)
	ended := make(chan time.Time, 1)
	stop := context.AfterFunc(ctx, func() { ended <- time.Now() })
	do(context.WithValue(ctx, taskKey{}, t), w.ran.clients[w.client], t)
	if !stop() {
		w.returned(time.Since(<-ended))
	}
}

// resume waits as a user does before trying again. It reports whether to do so.
func (w *worker) resume(job string, err error) bool {
	_, _ = fmt.Fprintf(w.watch, "%v %+v %#v", err, err, err)
	ended := w.ran.ctx.Err() != nil
	why := reason(err)
	switch {
	case ended:
		why = "the end of the storm"
	case why == believed && !strings.HasPrefix(job, "list "):
		why = ""
	}
	w.stopped(job, cmp.Or(why, "something final"))
	w.tell("%s: %s stopped: %v", w.name, job, err)
	switch {
	case why == "":
		w.isWrong("%s: %s was stopped by something that a user would not try again after: %v", w.name, job, err)
		return false
	case ended && w.ran == w.last:
		w.isWrong("%s: %s was not finished in time: %v", w.name, job, err)
		return false
	case ended:
		<-w.calm
		return true
	}
	d := w.patience/2 + time.Duration(w.rng.Int64N(int64(w.patience)))
	w.waited(d)
	_ = sleep(w.ran.ctx, d)
	return true
}

// believed is what bulk jobs and syncs should not do: they can ask tags/get.
const believed = "errcode 45159, a lie that was believed"

// reason says why a job was stopped, empty for what will not pass by itself.
func reason(err error) string {
	var (
		refusal  *wechatuser.Error
		response *wechatuser.ResponseError
		noAnswer *wechatuser.TransportError
	)
	switch {
	case errors.Is(err, context.Canceled): // by nobody
		return ""
	case strings.Contains(err.Error(), "no more token requests"):
		return "no token: the client's 20 requests a minute"
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(err, wechatuser.CodeMinuteQuotaExceeded):
		return "errcode 45011, and no time to wait"
	case strings.Contains(err.Error(), "whether the tag exists is not known"):
		return "errcode 45159, and no answer to tags/get"
	case errors.Is(err, wechatuser.CodeInvalidTagID):
		return believed
	case errors.As(err, &refusal) && errors.Is(err, wechatuser.ErrInvalidToken):
		return "the token was refused, and there was no other one"
	case errors.As(err, &refusal) && refusal.API == "getStableAccessToken":
		return fmt.Sprintf("no token: errcode %d", int(refusal.Code))
	case errors.As(err, &refusal) && errors.Is(err, wechatuser.ErrTemporary):
		return fmt.Sprintf("errcode %d", int(refusal.Code))
	case errors.As(err, &response) && errors.Is(err, wechatuser.ErrTemporary):
		return fmt.Sprintf("not the platform's answer, HTTP status %d", response.StatusCode)
	case errors.As(err, &noAnswer) && errors.Is(err, wechatuser.ErrTemporary):
		return "no answer, or the job's own deadline"
	case errors.Is(err, context.DeadlineExceeded):
		return "the job's own deadline"
	case errors.Is(err, wechatuser.ErrTemporary):
		return "temporary: " + err.Error()
	case errors.Is(err, wechatuser.ErrAmbiguous):
		return "the outcome is not known"
	}
	return ""
}
