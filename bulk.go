package wechatuser

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
)

// BulkOption is for what is optional in a bulk job. It is a [SyncOption] too.
type BulkOption interface {
	SyncOption
	applyBulk(*bulkConfig) *ArgumentError
}

type bulkOption func(*bulkConfig) *ArgumentError

func (f bulkOption) applyBulk(cfg *bulkConfig) *ArgumentError { return f(cfg) }
func (f bulkOption) applySync(cfg *syncConfig) *ArgumentError { return f(&cfg.bulkConfig) }

type bulkConfig struct {
	concurrency int
	progress    func(Progress) // nil for none
	doneBefore  int            // by another job that is a part of the same work
	total       int            // as in Progress
}

var bulkDefaults = bulkConfig{concurrency: 4, total: -1}

const maxConcurrency = 1000

// WithConcurrency lets a job make up to n calls at a time, at least 1. Defaults to 4. More than 1,000 are 1,000.
func WithConcurrency(n int) BulkOption {
	return bulkOption(func(cfg *bulkConfig) *ArgumentError {
		if n < 1 {
			return badOption("WithConcurrency", "%d calls at a time: give at least 1", n)
		}
		cfg.concurrency = min(n, maxConcurrency)
		return nil
	})
}

// WithProgress calls f each time a chunk of openids has its outcome, in the order of the input and in the goroutine that
// runs the job. What it keeps of ResumeAfter is where to go on if the program does not live to see the report.
func WithProgress(f func(Progress)) BulkOption {
	return bulkOption(func(cfg *bulkConfig) *ArgumentError {
		if f == nil {
			return badOption("WithProgress", "nil function: leave the option out for none")
		}
		cfg.progress = f
		return nil
	})
}

// Progress is how far a job has come.
type Progress struct {
	// Done is the number of openids that have their outcome, those included that failed since the platform could not be
	// reached.
	Done int
	// Total is the number of openids in all, -1 where the length of the input is not known. Only the Sync methods
	// know it.
	Total int
	// ResumeAfter is where to go on, as in [BulkReport]; Done can be far beyond. It is empty in the Sync methods, which
	// find out by themselves what is left.
	ResumeAfter string
}

// BulkReport says what became of the openids of a job that changes the account.
type BulkReport struct {
	// Total is the number of openids of the input that have an outcome: Applied + len(Failed). Those that a job did not
	// come to before it was stopped are not in it. An openid that the input holds twice counts twice.
	Total int
	// Applied is for how many openids the platform said yes.
	Applied int
	// Failed names the others, each with its error, in the order of the input. It grows with the number of failures.
	Failed []OpenIDError
	// Calls is the number of API requests that were sent, repeats included, requests for tokens not.
	Calls int
	// ResumeAfter is the last openid of the input up to which each has its outcome; empty where there is none, and then
	// the place of the run before still holds. To finish a job that was stopped, run it again with the input that comes
	// after the first ResumeAfter in it:
	//
	//	c.BulkTagging(ctx, vip, c.AllFans(ctx, wechatuser.StartAfter(report.ResumeAfter)))
	//
	// Some of that input may have been applied. To apply it again does no harm. Openids that failed since the platform
	// could not be reached are part of it too.
	ResumeAfter string
}

// FailedOpenIDs are the openids of Failed.
func (r BulkReport) FailedOpenIDs() []string {
	ids := make([]string, len(r.Failed))
	for i := range r.Failed {
		ids[i] = r.Failed[i].OpenID
	}
	return ids
}

// String is the report in one line, without openids.
func (r BulkReport) String() string {
	return fmt.Sprintf("%d of %d applied, %d failed, %d calls", r.Applied, r.Total, len(r.Failed), r.Calls)
}

// BulkError says that a job did not apply all of its input. errors.Is and errors.As see the reason why it was stopped
// and the error of each openid that failed.
type BulkError struct {
	// Report is what the job did, the same that was returned with this error.
	Report *BulkReport
	// Err is why the job was stopped: the error of a call, of the input or of the context. It is nil for a job that ran
	// to the end of its input, where only some openids were refused.
	Err error

	job string
}

// Error is one line with the numbers, and the reason or the first refusal.
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

// Unwrap gives Err, if there is one, and an [*OpenIDError] for each openid that failed.
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

// BulkTagging puts a tag on any number of followers, with a call for each 50 of them and 4 calls at a time.
//
// Openids that the platform refuses are found with up to 12 more calls each, and named in the report with their errors;
// all others are tagged. So are openids that are empty or hold white space, which cost no call. An openid that comes
// twice while it is in flight is sent once.
//
// The report comes with each error too, which is an [*ArgumentError] if nothing was begun and a [*BulkError] otherwise.
// The job is stopped by
//
//   - an error of the input, once what came before it is done;
//   - the end of the context;
//   - a refusal that is nobody's in particular: of the token, the account's rights, the day's quota
//     ([CodeDailyQuotaExceeded]), or the tag. [CodeInvalidTagID] is believed only if [Client.GetTags] does not have the
//     tag; otherwise the call is repeated up to five times;
//   - the platform being out of reach after the attempts that [WithRetry] allows. The openids of that call have failed
//     with that error, which matches [ErrAmbiguous] if they may have been tagged.
//
// Calls under way are then waited for, and [BulkReport.ResumeAfter] says where to go on. When the minute's quota is used
// up ([CodeMinuteQuotaExceeded]) the job waits for the next minute, and when the client has made its share of token
// requests for the next one, unless the context ends before.
//
// The input runs in the caller's goroutine, so that one that waits for something should watch the context itself. What
// is in memory is a few chunks of openids, and those that failed.
//
// batchTagging, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html.
func (c *Client) BulkTagging(ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.bulkWrite(ctx, "BulkTagging", c.tagging(batchTagging, tagID), openIDs, opts)
}

// BulkUntagging takes a tag off any number of followers, otherwise as [Client.BulkTagging].
//
// batchUntagging, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchuntagging.html.
func (c *Client) BulkUntagging(ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.bulkWrite(ctx, "BulkUntagging", c.tagging(batchUntagging, tagID), openIDs, opts)
}

// BulkBlacklist blocks any number of followers, with a call for each 20 of them and up to 10 more for each that the
// platform refuses, such as people who do not follow the account. Otherwise it is as [Client.BulkTagging].
//
// batchBlacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchblacklist.html.
func (c *Client) BulkBlacklist(ctx context.Context, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.bulkWrite(ctx, "BulkBlacklist", c.blacklisting(batchBlacklist), openIDs, opts)
}

// BulkUnblacklist unblocks any number of users, with a call for each 20 of them. Otherwise it is as
// [Client.BulkBlacklist].
//
// batchUnblacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchunblacklist.html.
func (c *Client) BulkUnblacklist(ctx context.Context, openIDs iter.Seq2[string, error], opts ...BulkOption) (*BulkReport, error) {
	return c.bulkWrite(ctx, "BulkUnblacklist", c.blacklisting(batchUnblacklist), openIDs, opts)
}

// write is a change that can be made for some openids in one call.
type write struct {
	ep    *endpoint
	tagID int // below zero where there is none
	send  func(ctx context.Context, openIDs []string) error
}

func (c *Client) tagging(id endpointID, tagID int) write {
	ep := &endpoints[id]
	return write{ep, tagID, func(ctx context.Context, openIDs []string) error { return c.tagMembers(ctx, ep, tagID, openIDs) }}
}

func (c *Client) blacklisting(id endpointID) write {
	ep := &endpoints[id]
	return write{ep, -1, func(ctx context.Context, openIDs []string) error { return c.blacklistMembers(ctx, ep, openIDs) }}
}

// bulkWrite checks the arguments and runs the job.
func (c *Client) bulkWrite(ctx context.Context, name string, w write, openIDs iter.Seq2[string, error], opts []BulkOption) (*BulkReport, error) {
	cfg := bulkDefaults
	err := configure(name, opts, func(o BulkOption) *ArgumentError { return o.applyBulk(&cfg) })
	if err == nil {
		err = w.check(name, openIDs)
	}
	report := new(BulkReport)
	if err == nil {
		err = c.apply(ctx, name, w, newPace(c, w.tagID), openIDs, cfg, report)
	}
	return report, err
}

func (w write) check(name string, openIDs iter.Seq2[string, error]) error {
	if openIDs == nil {
		return nilInput(name)
	}
	if w.ep == &endpoints[batchTagging] || w.ep == &endpoints[batchUntagging] {
		return w.ep.checkTagID(w.tagID)
	}
	return nil
}

func nilInput(job string) error {
	return &ArgumentError{API: job, Field: "openIDs", Reason: "nil: for a list of nobody give OpenIDs()"}
}

// apply makes a change for all openids of the input. What it does goes into the report.
func (c *Client) apply(ctx context.Context, name string, w write, p *pace, openIDs iter.Seq2[string, error], cfg bulkConfig, report *BulkReport) error {
	j := &job[struct{}]{
		pace: p, ep: w.ep, cfg: cfg,
		send: func(ctx context.Context, slots []*slot[struct{}]) error {
			err := w.send(ctx, openIDsOf(slots))
			if err == nil {
				for _, s := range slots {
					s.end(decided, nil)
				}
			}
			return err
		},
		deliver: func(s *slot[struct{}]) bool {
			switch s.fate {
			case undecided:
				return true
			case decided:
				report.Applied++
			default:
				report.Failed = append(report.Failed, OpenIDError{OpenID: alone(s.openID), Err: s.err})
			}
			report.Total++
			return true
		},
	}
	ctx, sent := countCalls(ctx)
	err := j.run(ctx, openIDs)
	report.Calls, report.ResumeAfter = int(sent.Load()), j.place
	if err != nil || len(report.Failed) > 0 {
		return &BulkError{Report: report, Err: err, job: name}
	}
	return nil
}

// alone is the openid in memory of its own: one that is kept should not keep its neighbours on a page.
func alone(openID string) string { return strings.Clone(openID) }

func openIDsOf[R any](slots []*slot[R]) []string {
	ids := make([]string, len(slots))
	for i, s := range slots {
		ids[i] = s.openID
	}
	return ids
}

type sentKey struct{}

// countCalls makes perform count the requests that it sends with this context.
func countCalls(ctx context.Context) (context.Context, *atomic.Int64) {
	sent := new(atomic.Int64)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

func countSent(ctx context.Context) {
	if sent, ok := ctx.Value(sentKey{}).(*atomic.Int64); ok {
		sent.Add(1)
	}
}
