package wechatuser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser/internal/bulk"
	"github.com/wechatuser/wechatuser/internal/guard"
)

// BulkReport is the result of a job that changes the account.
type BulkReport struct {
	// Total is the number of openids of the input that have an outcome: Applied + len(Failed). It does not count those
	// that a job had not reached when it was stopped. An openid that is in the input twice counts twice.
	Total int
	// Applied is the number of openids for which the platform confirmed the change.
	Applied int
	// Failed has the others, each with its error, in the order of the input. It grows with the number of failures.
	Failed []OpenIDError
	// Calls is the number of API requests that were sent, including retries. Token requests do not count, nor do calls
	// that an interceptor makes itself.
	Calls int
	// ResumeAfter is the last openid up to which every outcome is final, its own included. If it is empty, keep the
	// value of the previous run. To finish a job that was stopped, run it again with the part of the input that follows
	// the first occurrence of ResumeAfter:
	//
	//	c.BulkTagging(ctx, vip, c.AllFans(ctx, wechatuser.StartAfter(report.ResumeAfter)))
	//
	// The change may have been applied to some of that part already; applying it again does no harm. Openids that
	// failed because the platform could not be reached are in that part too.
	ResumeAfter string
}

// FailedOpenIDs returns the openids of Failed.
func (r BulkReport) FailedOpenIDs() []string {
	ids := make([]string, len(r.Failed))
	for i := range r.Failed {
		ids[i] = r.Failed[i].OpenID
	}
	return ids
}

// String returns the report in one line, without openids.
func (r BulkReport) String() string {
	return fmt.Sprintf("%d of %d applied, %d failed, %d calls", r.Applied, r.Total, len(r.Failed), r.Calls)
}

// LogValue returns the numbers of the report, and no openid.
func (r BulkReport) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("total", r.Total), slog.Int("applied", r.Applied),
		slog.Int("failed", len(r.Failed)), slog.Int("calls", r.Calls))
}

// BulkError is the error of a job that did not apply all of its input. errors.Is and errors.As find the reason why it
// was stopped, and the error of each openid that failed.
type BulkError struct {
	// Report is the result of the job, the same that was returned with this error.
	Report *BulkReport
	// Err is why the job was stopped: the error of a call, of the input or of the context. It is nil if the job reached
	// the end of its input and only some openids were rejected.
	Err error

	job string
}

// Stopped reports whether the job was stopped before the end of its input. If not, the job is complete, and only the
// openids in Report.Failed were not changed.
func (e *BulkError) Stopped() bool { return e.Err != nil }

// Error returns one line with the numbers, and the reason or the first failure.
func (e *BulkError) Error() string {
	var b strings.Builder
	b.WriteString("wechatuser: " + cmp.Or(e.job, "bulk job") + ": ")
	r := e.Report
	if r == nil {
		r = new(BulkReport)
	}
	switch n := len(r.Failed); {
	case e.Err != nil:
		fmt.Fprintf(&b, "stopped after %d openids (%d applied, %d failed): %v", r.Total, r.Applied, n, e.Err)
	case n > 0:
		fmt.Fprintf(&b, "%d of %d applied, %d failed; first: %v", r.Applied, r.Total, n, &r.Failed[0])
	default:
		fmt.Fprintf(&b, "%d of %d applied", r.Applied, r.Total)
	}
	return oneLine(b.String())
}

// Unwrap returns Err, if it is not nil, and an [*OpenIDError] for each openid that failed.
func (e *BulkError) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	if e.Report != nil {
		errs = slices.Grow(errs, len(e.Report.Failed))
		for i := range e.Report.Failed {
			errs = append(errs, &e.Report.Failed[i])
		}
	}
	return errs
}

// BulkTagging tags any number of followers, with one call for each 50 of them and 4 calls at a time.
//
// It isolates rejected openids with up to 12 more calls each, and reports them with their errors. All others are
// tagged. Empty or malformed openids are reported too, without an API call. An openid that appears in the input again
// while it is in flight is sent only once.
//
// It returns a report even if it returns an error. The error is an [*ArgumentError] if nothing was started, and
// otherwise a [*BulkError]. The job is stopped by
//
//   - an error of the input, after the openids before it are done;
//   - the end of the context;
//   - an error that concerns no openid in particular: of the account's permissions, the daily quota
//     ([CodeDailyQuotaExceeded]), the limiter, an interceptor, the token or the tag. After [CodeInvalidTagID] it stops
//     only if [Client.GetTags] does not have the tag; otherwise it retries the call up to five times. It also retries a
//     call up to five times if a token is rejected that was refreshed just before;
//   - a platform that cannot be reached with the attempts that [WithRetry] and [WithPatience] allow. The openids of
//     that call fail with that error, which matches [ErrAmbiguous] if they may have been tagged.
//
// After a stop no request begins, not even a retry. The job waits for the responses to requests that were sent, and
// [BulkReport.ResumeAfter] is where to continue. Openids whose call was not sent are not in Failed, and come after
// ResumeAfter. The job does not stop, but waits as long as its context allows, when the quota of a minute is used up
// ([CodeMinuteQuotaExceeded]) and when the client has reached its limit of token requests. A call that the platform
// rejects as too large ([CodeInvalidOpenIDListSize]) is halved, and so are all later ones.
//
// If the platform says that some openids of a call have failed, but not which ([CodeSomeOpenIDsFailed]), their errors
// match [ErrAmbiguous]. A panic in a transport or an interceptor becomes a panic of BulkTagging.
//
// The input runs in the caller's goroutine, so an input that waits for something should watch the context itself. A few
// chunks of openids and the failures are held in memory.
//
// batchTagging, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html.
func (c *Client) BulkTagging(ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.runWrite(ctx, "BulkTagging", c.tagging(batchTagging, tagID), openIDs, opts)
}

// BulkUntagging untags any number of followers. Otherwise it works like [Client.BulkTagging].
//
// batchUntagging, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchuntagging.html.
func (c *Client) BulkUntagging(ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.runWrite(ctx, "BulkUntagging", c.tagging(batchUntagging, tagID), openIDs, opts)
}

// BulkBlacklist blocks any number of followers, with one call for each 20 of them and up to 10 more for each one that
// the platform rejects, such as a user who does not follow the account. Otherwise it works like [Client.BulkTagging].
//
// batchBlacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchblacklist.html.
func (c *Client) BulkBlacklist(ctx context.Context, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.runWrite(ctx, "BulkBlacklist", c.blacklisting(batchBlacklist), openIDs, opts)
}

// BulkUnblacklist unblocks any number of users, with one call for each 20 of them. Otherwise it works like
// [Client.BulkBlacklist].
//
// batchUnblacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchunblacklist.html.
func (c *Client) BulkUnblacklist(ctx context.Context, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.runWrite(ctx, "BulkUnblacklist", c.blacklisting(batchUnblacklist), openIDs, opts)
}

// bulkWrite is a change that one call can make for some openids.
type bulkWrite struct {
	ep    *endpoint
	tagID int // negative if there is none
	send  func(ctx context.Context, openIDs []string) error
}

func (c *Client) tagging(id endpointID, tagID int) bulkWrite {
	ep := &endpoints[id]
	return bulkWrite{ep, tagID, func(ctx context.Context, openIDs []string) error {
		return c.tagMembers(ctx, ep, tagID, openIDs)
	}}
}

func (c *Client) blacklisting(id endpointID) bulkWrite {
	ep := &endpoints[id]
	return bulkWrite{ep, -1, func(ctx context.Context, openIDs []string) error {
		return c.blacklistMembers(ctx, ep, openIDs)
	}}
}

// check checks the arguments of a job.
func (w bulkWrite) check(cfg jobConfig, openIDs iter.Seq2[string, error]) error {
	if openIDs == nil {
		return nilInput(cfg.name)
	}
	if err := cfg.checkChunkSize(w.ep); err != nil {
		return err
	}
	if w.ep == &endpoints[batchTagging] || w.ep == &endpoints[batchUntagging] {
		return w.ep.checkTagID(w.tagID)
	}
	return nil
}

func nilInput(job string) error {
	return argumentError(job, "openIDs", "nil: for an empty list pass OpenIDs()")
}

// runWrite checks the arguments and runs the job.
func (c *Client) runWrite(
	ctx context.Context, name string, w bulkWrite, openIDs iter.Seq2[string, error], opts []BulkOption,
) (*BulkReport, error) {
	report := new(BulkReport)
	cfg, err := newJobConfig(ctx, name, opts)
	if err == nil {
		err = w.check(cfg, openIDs)
	}
	if err != nil {
		return report, err
	}
	var progress func(done int, cursor string)
	if show := cfg.progress; show != nil {
		progress = func(done int, cursor string) { show(Progress{Done: done, Total: -1, ResumeAfter: cursor}) }
	}
	return report, c.apply(ctx, cfg, w, newPolicy(c, w.tagID, cfg.patience), openIDs, progress, report)
}

// apply makes a change for all openids of the input, and reports their outcomes.
func (c *Client) apply(
	ctx context.Context, cfg jobConfig, w bulkWrite, p *policy, openIDs iter.Seq2[string, error],
	progress func(done int, cursor string), report *BulkReport,
) error {
	ctx, n := countCalls(ctx)
	job := bulk.Job[struct{}]{
		Gate: p.gate, ChunkSize: cfg.sizeFor(w.ep), Concurrency: cfg.concurrency, Progress: progress,
		Validate: func(openID string) error { return w.ep.checkOpenID("openid", openID) },
		Send: func(ctx, stopped context.Context, items []*bulk.Item[struct{}]) error {
			return makeCall(ctx, stopped, func(ctx context.Context) error { return w.send(ctx, openIDsOf(items)) })
		},
		Classify: func(stopped context.Context, err error) bulk.Verdict {
			v := p.classify(ctx, stopped, err)
			v.Unknown = isLost(ctx, err)
			v.MayBeApplied = v.MayBeApplied || errors.Is(err, guard.ErrGoexit)
			return v
		},
		Deliver: func(item *bulk.Item[struct{}]) bool {
			switch item.Status {
			case bulk.Pending:
				return true
			case bulk.Done:
				report.Applied++
			case bulk.Rejected, bulk.Invalid, bulk.Unknown:
				report.Failed = append(report.Failed, itemError(item))
			}
			report.Total++
			return true
		},
	}
	err := job.Run(ctx, openIDs)
	report.Calls, report.ResumeAfter = int(n.sent.Load()), job.Cursor()
	return report.errorOf(cfg.name, err)
}

// errorOf returns the error of the job with this report. err is why it was stopped, nil if it was not.
func (r *BulkReport) errorOf(name string, err error) error {
	if err != nil || len(r.Failed) > 0 {
		return &BulkError{Report: r, Err: err, job: name}
	}
	return nil
}

// itemError returns the error of an item that failed.
func itemError[R any](item *bulk.Item[R]) OpenIDError {
	return OpenIDError{
		OpenID: strings.Clone(item.ID), // one that is kept should not keep its page in memory
		Err:    markAmbiguous(item.Err, item.MayBeApplied),
	}
}

func openIDsOf[R any](items []*bulk.Item[R]) []string {
	openIDs := make([]string, len(items))
	for i, item := range items {
		openIDs[i] = item.ID
	}
	return openIDs
}
