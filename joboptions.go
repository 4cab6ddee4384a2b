package wechatuser

import (
	"cmp"
	"context"
	"time"
)

// ListOption configures [Client.AllFans], [Client.AllTagFans] and [Client.AllBlacklist].
type ListOption interface {
	jobOption
	forList()
}

// BulkOption configures a bulk job. It is a [SyncOption] and a [ListOption] too, but a list fails with an
// [*ArgumentError] unless the option says that lists have it.
type BulkOption interface {
	SyncOption
	ListOption
	forBulk()
}

// SyncOption configures [Client.SyncTag] and [Client.SyncBlacklist]. Each [BulkOption] is one.
type SyncOption interface {
	jobOption
	forSync()
}

// jobOption is an option of a list, a bulk job or a sync. The marker methods say of which.
type jobOption interface{ apply(*jobConfig) error }

type (
	setter     func(*jobConfig) error
	listOption struct{ setter }
	bulkOption struct{ setter }
	syncOption struct{ setter }
)

func (f setter) apply(cfg *jobConfig) error { return f(cfg) }

func (listOption) forList() {}
func (bulkOption) forList() {}
func (bulkOption) forBulk() {}
func (bulkOption) forSync() {}
func (syncOption) forSync() {}

// jobConfig is what the options of lists, bulk jobs and syncs set.
type jobConfig struct {
	name string // of the function, for errors

	after    string // of a list
	prefetch int

	concurrency int
	chunkSize   int            // 0 for the platform's limit
	progress    func(Progress) // nil for none
	patience    time.Duration  // 0 for none
	onlyBulk    []string       // the options that a list does not have

	dryRun, keep bool // of a sync
}

// newJobConfig returns the configuration with these options, or an [*ArgumentError], also if ctx is nil.
func newJobConfig[O jobOption](ctx context.Context, name string, opts []O) (jobConfig, error) {
	cfg := jobConfig{name: name, prefetch: 1, concurrency: 4}
	if err := checkContext(name, ctx); err != nil {
		return cfg, err
	}
	for i, opt := range opts {
		if any(opt) == nil {
			return cfg, argumentError(name, "opts", "option %d is nil", i+1)
		}
		if err := opt.apply(&cfg); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// checkList checks the options of a list.
func (cfg *jobConfig) checkList() error {
	if len(cfg.onlyBulk) > 0 {
		return argumentError(cfg.name, cfg.onlyBulk[0], "not an option of a list: pass it to a bulk job or a sync")
	}
	return nil
}

// checkChunkSize checks the options of a job that makes calls to an endpoint.
func (cfg *jobConfig) checkChunkSize(ep *endpoint) error {
	if cfg.chunkSize > ep.max {
		return argumentError(cfg.name, "WithChunkSize", "%d openids in one call: %s takes at most %d",
			cfg.chunkSize, ep.api, ep.max)
	}
	return nil
}

// sizeFor returns how many openids go into one call.
func (cfg *jobConfig) sizeFor(ep *endpoint) int { return cmp.Or(cfg.chunkSize, ep.max) }

// StartAfter starts a list after this openid, to continue where an earlier list ended: pass the last openid that the
// loop got. Empty means from the beginning. The platform does not say for how long an openid is valid as a cursor.
func StartAfter(openID string) ListOption {
	return listOption{func(cfg *jobConfig) error {
		cfg.after = openID
		return nil
	}}
}

// maxPrefetch is far more than is useful: a million openids in memory.
const maxPrefetch = 100

// WithPrefetch makes a list read up to this many pages ahead of the loop, from 0 to 100. Defaults to 1. With 0, a page
// is read when the loop needs its first openid, which saves a call if the loop ends early.
func WithPrefetch(pages int) ListOption {
	return listOption{func(cfg *jobConfig) error {
		if pages < 0 || pages > maxPrefetch {
			return argumentError(cfg.name, "WithPrefetch", "%d pages: it must be 0 to %d", pages, maxPrefetch)
		}
		cfg.prefetch = pages
		return nil
	}}
}

const maxConcurrency = 1000

// WithConcurrency lets a job make up to n calls at a time, at least 1. Defaults to 4. More than 1,000 count as 1,000.
//
// A job makes about n × 60 s / t calls a minute, where t is the time of one call: at 25 ms the default makes 9,600, which
// is below the only limit of calls per minute that the platform has published, 10,000. docs/bulk.md has a table. More
// than 64 calls at a time open new connections, unless [WithTransport] has a larger pool.
func WithConcurrency(n int) BulkOption {
	return bulkOption{func(cfg *jobConfig) error {
		if n < 1 {
			return argumentError(cfg.name, "WithConcurrency", "%d calls at a time: it must be at least 1", n)
		}
		cfg.concurrency = min(n, maxConcurrency)
		cfg.onlyBulk = append(cfg.onlyBulk, "WithConcurrency")
		return nil
	}}
}

// WithChunkSize puts up to n openids into one call, from 1 to the platform's limit, which is the default: 50 for tags,
// 20 for the blacklist, 100 for profiles and new openids. For some accounts the platform is known to reject calls at
// its documented limit ([CodeInvalidOpenIDListSize]). A job then halves its calls until they are accepted, and keeps
// that size; this option saves the rejected calls.
func WithChunkSize(n int) BulkOption {
	return bulkOption{func(cfg *jobConfig) error {
		if n < 1 {
			return argumentError(cfg.name, "WithChunkSize", "%d openids in one call: it must be at least 1", n)
		}
		cfg.chunkSize = n
		cfg.onlyBulk = append(cfg.onlyBulk, "WithChunkSize")
		return nil
	}}
}

// WithPatience makes a job or a list wait for the end of an outage, for up to d without a success: the platform is busy
// (-1, [CodeSystemBusy]), responds with HTTP 5xx or 429 or without JSON, or cannot be reached. The job makes the call
// again, each time with all attempts of [WithRetry], after pauses that grow to a minute. Outages of the platform last
// for minutes, and at times for hours. Without this option, a job or a list ends when all attempts of one call have
// failed.
//
// Lists have this option too. If the deadline of the context is before the next try, the job or list ends at once with
// the error of the last one.
func WithPatience(d time.Duration) BulkOption {
	return bulkOption{func(cfg *jobConfig) error {
		if d < 0 {
			return argumentError(cfg.name, "WithPatience", "%v is negative: leave the option out for no patience", d)
		}
		cfg.patience = d
		return nil
	}}
}

// WithProgress calls f each time the outcomes of a chunk of openids are known, in the order of the input and in the
// goroutine that runs the job. A program that saves ResumeAfter can continue from there after a crash.
func WithProgress(f func(Progress)) BulkOption {
	return bulkOption{func(cfg *jobConfig) error {
		if f == nil {
			return argumentError(cfg.name, "WithProgress", "nil function: leave the option out for none")
		}
		cfg.progress = f
		cfg.onlyBulk = append(cfg.onlyBulk, "WithProgress")
		return nil
	}}
}

// Progress is how far a job has come.
type Progress struct {
	// Done is the number of openids whose outcome is known, including those that failed because the platform could not
	// be reached.
	Done int
	// Total is the number of all openids, -1 if the length of the input is not known. Only the Sync methods know it.
	Total int
	// ResumeAfter is where to continue, as in [BulkReport]; Done can be far ahead of it. It is empty in the Sync
	// methods, which find out by themselves what is left.
	ResumeAfter string
}

// WithDryRun makes a sync change nothing: ToAdd and ToRemove of the report say what it would do, and Applied is 0.
func WithDryRun() SyncOption {
	return syncOption{func(cfg *jobConfig) error {
		cfg.dryRun = true
		return nil
	}}
}

// WithoutRemoval makes a sync remove nobody. Unwanted members are kept and not counted.
func WithoutRemoval() SyncOption {
	return syncOption{func(cfg *jobConfig) error {
		cfg.keep = true
		return nil
	}}
}
