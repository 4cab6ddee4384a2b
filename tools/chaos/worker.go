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
	"github.com/wechatuser/wechatuser/internal/backoff"
)

// worker runs one job after the other, as a program that uses the package would.
type worker struct {
	*chaos
	name     string
	rng      *rand.Rand
	client   int    // index into the clients of a phase
	runPhase *phase // in which the last job was run
}

// target is a tag or the blacklist. Only one worker changes it.
type target struct {
	name    string
	want    set             // the expected members
	openIDs func() []string // the members in the account

	change changeFunc
	sync   syncFunc
	list   listFunc
}

type (
	changeFunc func(
		ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error],
		opts ...wechatuser.BulkOption,
	) (*wechatuser.BulkReport, error)
	syncFunc func(
		ctx context.Context, c *wechatuser.Client, openIDs iter.Seq2[string, error], opts ...wechatuser.SyncOption,
	) (*wechatuser.SyncReport, error)
	listFunc func(ctx context.Context, c *wechatuser.Client, opts ...wechatuser.ListOption) iter.Seq2[string, error]
)

func (ch *chaos) tagTarget(name string) *target {
	tagID := ch.account.AddTag(name)
	return &target{
		name: name, want: make(set),
		openIDs: func() []string { return ch.account.TagFans(tagID) },
		change: func(
			ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error],
			opts ...wechatuser.BulkOption,
		) (*wechatuser.BulkReport, error) {
			if add {
				return c.BulkTagging(ctx, tagID, openIDs, opts...)
			}
			return c.BulkUntagging(ctx, tagID, openIDs, opts...)
		},
		sync: func(
			ctx context.Context, c *wechatuser.Client, openIDs iter.Seq2[string, error], opts ...wechatuser.SyncOption,
		) (*wechatuser.SyncReport, error) {
			return c.SyncTag(ctx, tagID, openIDs, opts...)
		},
		list: func(ctx context.Context, c *wechatuser.Client, opts ...wechatuser.ListOption) iter.Seq2[string, error] {
			return c.AllTagFans(ctx, tagID, opts...)
		},
	}
}

func (ch *chaos) blacklistTarget() *target {
	return &target{
		name: "blacklist", want: make(set),
		openIDs: ch.account.Blacklist,
		change: func(
			ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error],
			opts ...wechatuser.BulkOption,
		) (*wechatuser.BulkReport, error) {
			if add {
				return c.BulkBlacklist(ctx, openIDs, opts...)
			}
			return c.BulkUnblacklist(ctx, openIDs, opts...)
		},
		sync: func(
			ctx context.Context, c *wechatuser.Client, openIDs iter.Seq2[string, error], opts ...wechatuser.SyncOption,
		) (*wechatuser.SyncReport, error) {
			return c.SyncBlacklist(ctx, openIDs, opts...)
		},
		list: func(ctx context.Context, c *wechatuser.Client, opts ...wechatuser.ListOption) iter.Seq2[string, error] {
			return c.AllBlacklist(ctx, opts...)
		},
	}
}

func (t *target) members() set { return setOf(t.openIDs()) }

// accepts reports whether the account adds an openid of this kind to a target, or removes it.
func accepts(k kind, add bool) bool { return k == follower || k == formerFollower && !add }

// runJobs runs jobs on a target until the faults end.
func (w *worker) runJobs(t *target) {
	for w.gateway.active.Load() {
		switch n := w.rng.IntN(10); {
		case n < 4:
			w.change(t, true)
		case n < 6:
			w.change(t, false)
		case n < 8:
			w.sync(t)
		default:
			w.list(t)
		}
		w.checkMembers(t)
	}
}

// checkMembers compares the members of a target with the expected ones.
func (ch *chaos) checkMembers(t *target) {
	actual := t.members()
	ch.addLost(t.want.minus(actual), "%s: missing", t.name)
	ch.addUnexpected(actual.minus(t.want), "%s: not expected", t.name)
	t.want = actual // reports each difference once
}

// runOnce runs a job once, sometimes with a short deadline.
func (w *worker) runOnce(job func(ctx context.Context, c *wechatuser.Client, run *jobRun)) {
	w.runPhase = w.phase.Load()
	ctx, cancel := context.WithCancel(w.runPhase.ctx)
	defer cancel()
	if w.gateway.active.Load() && w.rng.IntN(8) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.rng.Int64N(int64(2*time.Second))))
		defer cancel()
	}
	run := w.gateway.beginRun()
	defer w.gateway.endRun(run)
	ended := make(chan time.Time, 1)
	stop := context.AfterFunc(ctx, func() { ended <- time.Now() })
	job(context.WithValue(ctx, runKey{}, run), w.runPhase.clients[w.client], run)
	if !stop() {
		w.addStopTime(w.name, time.Since(<-ended))
	}
}

// waitToResume records why a job was stopped and waits, as a user does before resuming it. It reports whether to
// resume the job.
func (w *worker) waitToResume(job string, err error) bool {
	_, _ = fmt.Fprintf(w.monitor, "%v %+v %#v", err, err, err)
	phaseEnded := w.runPhase.ctx.Err() != nil
	reason := stopReason(err)
	switch {
	case phaseEnded:
		reason = "the end of the phase with faults"
	case reason == falseTagError && !strings.HasPrefix(job, "list "):
		reason = ""
	}
	w.jobStopped(job, cmp.Or(reason, "a permanent error"))
	w.logf("%s: %s stopped: %v", w.name, job, err)
	switch {
	case reason == "":
		w.addMismatch("%s: %s was stopped by a permanent error: %v", w.name, job, err)
		return false
	case phaseEnded && w.runPhase == w.recovery:
		w.addMismatch("%s: %s did not finish in time: %v", w.name, job, err)
		return false
	case phaseEnded:
		<-w.faultEnd
		return true
	}
	d := w.resumeDelay/2 + time.Duration(w.rng.Int64N(int64(w.resumeDelay)))
	w.addWait(d)
	_ = backoff.Sleep(w.runPhase.ctx, d)
	return true
}

// falseTagError may stop lists only: bulk jobs and syncs look whether the tag exists.
const falseTagError = "errcode 45159, false"

// stopReason describes the temporary error that stopped a job. It returns "" if the error is permanent.
func stopReason(err error) string {
	var (
		apiErr       *wechatuser.Error
		responseErr  *wechatuser.ResponseError
		transportErr *wechatuser.TransportError
	)
	switch {
	case errors.Is(err, context.Canceled): // nobody cancels during a phase
		return ""
	case errors.Is(err, errLimiter):
		return "an error of the limiter"
	case limitedByClient(err):
		return "no token: the client's limit of token requests"
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(err, wechatuser.CodeMinuteQuotaExceeded):
		return "errcode 45011, with no time left to wait"
	case errors.Is(err, wechatuser.CodeInvalidTagID) && failedForNow(err):
		return "errcode 45159, and the tag list could not be read"
	case errors.As(err, &apiErr) && apiErr.API == "deleteTag" && errors.Is(apiErr, wechatuser.ErrAmbiguous):
		return "the outcome of DeleteTag is unknown" // its retry found no tag, and the tag list has it or was not read
	case errors.Is(err, wechatuser.CodeInvalidTagID):
		return falseTagError
	case errors.As(err, &apiErr) && errors.Is(err, wechatuser.ErrInvalidToken):
		return "the token was rejected, and no other one was available"
	case errors.As(err, &apiErr) && (apiErr.API == "getStableAccessToken" || apiErr.API == "getAccessToken"):
		return fmt.Sprintf("no token: errcode %d", int(apiErr.Code))
	case errors.As(err, &apiErr) && errors.Is(err, wechatuser.ErrTemporary):
		return fmt.Sprintf("errcode %d", int(apiErr.Code))
	case errors.As(err, &responseErr) && errors.Is(err, wechatuser.ErrTemporary):
		return fmt.Sprintf("not a response of the platform, HTTP status %d", responseErr.StatusCode)
	case errors.As(err, &transportErr) && errors.Is(err, wechatuser.ErrTemporary):
		return "no response, or the job's own deadline"
	case errors.Is(err, context.DeadlineExceeded):
		return "the job's own deadline"
	case errors.Is(err, wechatuser.ErrTemporary):
		return "temporary: " + err.Error()
	case errors.Is(err, wechatuser.ErrAmbiguous):
		return "the outcome is unknown"
	}
	return ""
}

// limitedByClient reports whether the client did not send a token request because of its own limit of token requests
// per minute.
func limitedByClient(err error) bool {
	var (
		apiErr      *wechatuser.Error
		responseErr *wechatuser.ResponseError
	)
	return errors.Is(err, wechatuser.ErrRateLimited) &&
		!(errors.As(err, &apiErr) && errors.Is(apiErr, wechatuser.ErrRateLimited)) &&
		!(errors.As(err, &responseErr) && errors.Is(responseErr, wechatuser.ErrRateLimited))
}

// failedForNow reports whether a call failed with an error that passes by itself: a temporary one, a deadline, or a
// token that was revoked.
func failedForNow(err error) bool {
	return errors.Is(err, wechatuser.ErrTemporary) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, wechatuser.ErrInvalidToken)
}
