package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// Deduplicator recognizes repeats of pushes for all processes that receive them. It is a
// [wechatuserpush.Deduplicator], for any number of accounts. It is safe for concurrent use and needs no Close.
//
// Its methods return [ErrUnavailable] if Redis can't be used, and at once after a failure. A handler then goes on
// without it: pushes may be handled twice, and none is lost. [Deduplicator.Check] reports whether it can be used.
type Deduplicator struct {
	*deduplicator // a pointer, so that printing a copy of a Deduplicator shows no secret
}

type deduplicator struct {
	*config
	rdb     redis.UniversalClient
	breaker *breaker
}

var _ wechatuserpush.Deduplicator = (*Deduplicator)(nil)

// NewDeduplicator returns a deduplicator that uses a client of a single Redis server, of Sentinel or of Cluster. It
// sends no request and starts no goroutine. Its error joins a [*wechatuser.ArgumentError] for each invalid argument or
// option.
//
//	pushes, err := redisstore.NewDeduplicator(rdb)
//	handler, err := wechatuserpush.NewHandler(wechatuserpush.Config{
//		AppID: appID, Token: token, EncodingAESKey: key, Deduplicator: pushes,
//	}, handle)
func NewDeduplicator(rdb redis.UniversalClient, opts ...Option) (*Deduplicator, error) {
	cfg, errs := configure(apiNewDeduplicator, rdb, opts)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Deduplicator{&deduplicator{config: cfg, rdb: rdb, breaker: newBreaker(cfg, rdb)}}, nil
}

// The values of a key: a push that somebody handles, followed by the owner, and one that is done.
const (
	runningPush = "running "
	donePush    = "done"
)

// claimScript returns a [wechatuserpush.State]. It gives the owner the claim if nobody else has it, again if the owner
// has it, so that a command that is retried succeeds.
var claimScript = redis.NewScript(`
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[3] then
  return 3
end
if found ~= '' and found ~= ARGV[1] then
  return 2
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// Claim claims a push for an owner. Redis ends the claim of a process that dies when the lease is over.
func (d *Deduplicator) Claim(
	ctx context.Context, key, owner string, lease time.Duration,
) (wechatuserpush.State, error) {
	return d.claim(ctx, do[wechatuserpush.State], d.prefix+key, owner, lease)
}

func (d *Deduplicator) claim(
	ctx context.Context, trip tripFunc[wechatuserpush.State], name, owner string, lease time.Duration,
) (wechatuserpush.State, error) {
	return runScript(ctx, d.breaker, trip, claimScript, d.rdb, name,
		[]any{runningPush + owner, max(lease.Milliseconds(), 1), donePush},
		func(cmd *redis.Cmd) (wechatuserpush.State, error) {
			state, err := cmd.Int()
			return wechatuserpush.State(state), err
		})
}

// Done records that a push is handled, for as long as keep says.
func (d *Deduplicator) Done(ctx context.Context, key string, keep time.Duration) error {
	_, err := do(ctx, d.breaker, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.rdb.Set(ctx, d.prefix+key, donePush, max(keep, time.Millisecond)).Err() // 0 stands for ever
	})
	return err
}

// Release gives up a claim of the owner. It keeps any other claim.
func (d *Deduplicator) Release(ctx context.Context, key, owner string) error {
	return d.release(ctx, do[bool], d.prefix+key, owner)
}

func (d *Deduplicator) release(ctx context.Context, trip tripFunc[bool], name, owner string) error {
	_, err := runScript(ctx, d.breaker, trip, compareAndSwapScript, d.rdb, name,
		[]any{runningPush + owner, "", 1}, (*redis.Cmd).Bool)
	return err
}

// Check reports whether the deduplicator can use Redis: it connects, authenticates, and claims and releases a key of
// its own, "wechatuser:push:check:" followed by a random text. Its error is like that of [Store.Check]. A handler whose
// deduplicator fails still works.
func (d *Deduplicator) Check(ctx context.Context) error {
	name, owner := d.prefix+"wechatuser:push:check:"+rand.Text(), rand.Text()
	if _, err := d.claim(ctx, doOnce[wechatuserpush.State], name, owner, 10*time.Second); err != nil {
		return explain(err)
	}
	return explain(d.release(ctx, doOnce[bool], name, owner))
}

// String returns the key prefix and nothing secret.
func (d *Deduplicator) String() string {
	if d == nil || d.deduplicator == nil {
		return "redisstore.Deduplicator(nil)"
	}
	return fmt.Sprintf("redisstore.Deduplicator(%q)", d.prefix)
}

// Format prints the result of String for every verb.
func (d *Deduplicator) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// LogValue returns the result of String.
func (d *Deduplicator) LogValue() slog.Value { return slog.StringValue(d.String()) }
