package redisstore

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// Option configures [New], [NewLimiter] or [NewDeduplicator]. They return an error for an invalid value. The order of
// options is irrelevant.
type Option struct {
	name string
	apis []string // the functions that accept it
	set  func(*config) error
}

const (
	apiNew        = "redisstore.New"
	apiNewLimiter = "redisstore.NewLimiter"

	apiNewDeduplicator = "redisstore.NewDeduplicator"
)

// everywhere are all functions that accept options.
var everywhere = []string{apiNew, apiNewLimiter, apiNewDeduplicator}

// config holds the values of the options.
type config struct {
	timeout        time.Duration
	connectTimeout time.Duration
	prefix         string
	lease          time.Duration
	codec          codec
	layouts        []Layout
	failClosed     bool
	processes      int
	margin         time.Duration
	logger         *slog.Logger
}

// WithTimeout limits the time of each round trip to Redis on an existing connection. It defaults to 300 milliseconds
// and must be at least 1 millisecond. Set it to several times the round-trip time that you measure; a command takes one
// round trip, the first use of a script two, each with this timeout. For [New], [NewLimiter] and [NewDeduplicator].
//
// After a failed round trip Redis is not used for 1 second at first and for up to 10 seconds if it keeps failing.
// Meanwhile operations that need Redis fail at once, except those for legacy tokens: see [Store].
//
// Time during which this process is suspended or gets no CPU does not count.
func WithTimeout(d time.Duration) Option {
	return Option{"WithTimeout", everywhere, func(c *config) error {
		c.timeout = d
		return atLeast(time.Millisecond, d)
	}}
}

// WithConnectTimeout sets the extra time that a round trip may take if the client has to open a connection for it. It
// defaults to 3 seconds and must be at least 1 millisecond. A connection takes 4 to 6 round trips, and a Cluster
// client's first command twice that. For [New], [NewLimiter] and [NewDeduplicator].
//
// If a caller stops waiting before the connection is open, it is completed in the background for the next caller.
func WithConnectTimeout(d time.Duration) Option {
	return Option{"WithConnectTimeout", everywhere, func(c *config) error {
		c.connectTimeout = d
		return atLeast(time.Millisecond, d)
	}}
}

// WithKeyPrefix sets a prefix for all keys. They are "wechatuser:token:stable:" or "wechatuser:token:legacy:" followed
// by the app ID, and the same with the suffix ":lock" or ":forced"; for pushes "wechatuser:push:", the app ID and a
// hash; and for a third-party platform those that begin with "wechatuser:token:component:",
// "wechatuser:token:authorizer:", "wechatuser:ticket:" and "wechatuser:refresh:". For [New] and [NewDeduplicator].
//
// In Redis Cluster the prefix may be a hash tag, such as "{wechat}:", but need not be one.
func WithKeyPrefix(prefix string) Option {
	return Option{"WithKeyPrefix", []string{apiNew, apiNewDeduplicator}, func(c *config) error {
		c.prefix = prefix
		return nil
	}}
}

// WithLease sets how long a lock stays held after its holder has died. It defaults to 10 seconds and must be at least 1
// second. For [New].
//
// The holder renews the lease whenever a third of it has passed, for at most 2 minutes.
func WithLease(d time.Duration) Option {
	return Option{"WithLease", []string{apiNew}, func(c *config) error {
		c.lease = d
		return atLeast(time.Second, d)
	}}
}

// WithEncryption encrypts tokens with AES-GCM before they are sent to Redis. The key has 16, 24 or 32 bytes. Values
// encrypted with one of the old keys can still be read. To replace a key, first add the new key as an old key in every
// process, then use it as the key. For [New].
//
// A value is bound to the name of its Redis key. A value that is not encrypted, or is encrypted with an unknown key,
// causes an error and is not overwritten. To enable encryption, delete such values or set another [WithKeyPrefix].
func WithEncryption(key []byte, old ...[]byte) Option {
	return Option{"WithEncryption", []string{apiNew}, func(c *config) (err error) {
		c.codec, err = newCodec(append([][]byte{key}, old...))
		return err
	}}
}

// WithReadFrom makes the store load the token that another SDK keeps in the same Redis, if the store has no token
// itself. The store never writes to the keys of the other SDK. For [New].
func WithReadFrom(layouts ...Layout) Option {
	return Option{"WithReadFrom", []string{apiNew}, func(c *config) error {
		for _, layout := range layouts {
			if layout == nil {
				return errors.New("nil layout: use WxJava, Silenceper or your own function")
			}
		}
		c.layouts = append(c.layouts, layouts...)
		return nil
	}}
}

// WithFailClosed makes [Limiter.Wait] fail while Redis is down. By default each process then keeps to the limit on its
// own: calls continue, but n processes together may make n times as many calls as the limit allows. See also
// [WithFallbackShare]. For [NewLimiter].
func WithFailClosed() Option {
	return Option{"WithFailClosed", []string{apiNewLimiter}, func(c *config) error {
		c.failClosed = true
		return nil
	}}
}

// WithFallbackShare sets the number of processes that share the limit. While Redis is down each of them keeps to its
// share, the limit divided by that number, so that all together keep to the limit. By default it is 1. For
// [NewLimiter].
func WithFallbackShare(processes int) Option {
	return Option{"WithFallbackShare", []string{apiNewLimiter}, func(c *config) error {
		c.processes = processes
		if processes < 1 {
			return fmt.Errorf("%d processes: use at least 1", processes)
		}
		return nil
	}}
}

// WithMargin sets how much time must remain before the deadline of a call when [Limiter.Wait] lets it through, so that
// no call is sent that can't succeed. It defaults to 200 milliseconds and may be 0. If less than twice the margin
// remains when Wait is called, the margin is half of the remaining time. For [NewLimiter].
func WithMargin(d time.Duration) Option {
	return Option{"WithMargin", []string{apiNewLimiter}, func(c *config) error {
		c.margin = d
		return atLeast(0, d)
	}}
}

// WithLogger sets a logger. The limiter logs when it loses Redis, at most one line a minute with the number of
// failures, and when it uses Redis again. A [Store] needs no logger, since the [wechatuser.Client] logs the failures of
// its store. For [NewLimiter].
func WithLogger(logger *slog.Logger) Option {
	return Option{"WithLogger", []string{apiNewLimiter}, func(c *config) error {
		if logger == nil {
			return errors.New("nil logger: omit the option to disable logging")
		}
		c.logger = logger
		return nil
	}}
}

func atLeast(floor, d time.Duration) error {
	if d < floor {
		return fmt.Errorf("%v is too short: use at least %v", d, floor)
	}
	return nil
}

// configure applies the options of one of the functions that accept them, and returns all errors found.
func configure(api string, rdb redis.UniversalClient, opts []Option) (*config, []error) {
	c := &config{
		timeout: 300 * time.Millisecond, connectTimeout: 3 * time.Second, lease: 10 * time.Second,
		processes: 1, margin: 200 * time.Millisecond, logger: slog.New(slog.DiscardHandler),
	}
	var errs []error
	addErr := func(field, format string, args ...any) {
		errs = append(errs, &wechatuser.ArgumentError{API: api, Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	if isNil(rdb) {
		addErr("rdb", "nil client")
	}
	for i, opt := range opts {
		if opt.set == nil {
			addErr("opts", "option %d is the zero Option", i+1)
			continue
		}
		if !slices.Contains(opt.apis, api) {
			addErr(opt.name, "not an option of %s but of %s", api, strings.Join(opt.apis, " and "))
			continue
		}
		if err := opt.set(c); err != nil {
			addErr(opt.name, "%v", err)
		}
	}
	return c, errs
}

// isNil reports whether rdb is nil, or a nil pointer such as (*redis.Client)(nil).
func isNil(rdb redis.UniversalClient) bool {
	if rdb == nil {
		return true
	}
	v := reflect.ValueOf(rdb)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
