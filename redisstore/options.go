package redisstore

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// Option changes what [New] or [NewLimiter] makes. A wrong value makes them fail; the order of options does not matter.
type Option struct {
	name  string
	users []string // the functions that take it
	set   func(*config) error
}

const (
	forStore   = "redisstore.New"
	forLimiter = "redisstore.NewLimiter"
)

// config is what the options write.
type config struct {
	timeout    time.Duration
	prefix     string
	lease      time.Duration
	seal       sealer
	layouts    []Layout
	failClosed bool
	logger     *slog.Logger
}

// WithTimeout limits each round trip to Redis. Defaults to 300 milliseconds, at least 1. For [New] and [NewLimiter].
//
// After a round trip that failed Redis is left alone, for 1 second at first and up to 10 seconds in the end, and
// everything that needs it fails at once.
func WithTimeout(d time.Duration) Option {
	return Option{"WithTimeout", []string{forStore, forLimiter}, func(c *config) error {
		c.timeout = d
		return atLeast(time.Millisecond, d)
	}}
}

// WithKeyPrefix puts a prefix in front of all keys. They are "wechatuser:token:stable:" or "wechatuser:token:legacy:"
// and the app ID, and the same with ":lock" at the end. For [New].
//
// In Redis Cluster the prefix may be a hash tag, such as "{wechat}:"; nothing here needs one.
func WithKeyPrefix(prefix string) Option {
	return Option{"WithKeyPrefix", []string{forStore}, func(c *config) error {
		c.prefix = prefix
		return nil
	}}
}

// WithLease sets how long the lock outlives a holder that died. Defaults to 10 seconds, at least 1 second. For [New].
//
// It is renewed each third of that time while the holder lives, for 2 minutes at most.
func WithLease(d time.Duration) Option {
	return Option{"WithLease", []string{forStore}, func(c *config) error {
		c.lease = d
		return atLeast(time.Second, d)
	}}
}

// WithEncryption encrypts tokens with AES-GCM before they leave the process. The key has 16, 24 or 32 bytes. Values
// under any of the old keys are still read, so that a key can be replaced: first add the new key everywhere as an old
// one, then make it the key. For [New].
//
// A value is bound to the name of its key in Redis. One that is not encrypted, or with an unknown key, is an error and
// is left alone; delete it, or choose another [WithKeyPrefix], to begin with encryption.
func WithEncryption(key []byte, old ...[]byte) Option {
	return Option{"WithEncryption", []string{forStore}, func(c *config) (err error) {
		c.seal, err = newSealer(append([][]byte{key}, old...))
		return err
	}}
}

// WithReadFrom takes the token that another SDK keeps in the same Redis, as long as there is none of our own. Nothing
// is ever written there. For [New].
func WithReadFrom(layouts ...Layout) Option {
	return Option{"WithReadFrom", []string{forStore}, func(c *config) error {
		for _, layout := range layouts {
			if layout == nil {
				return errors.New("nil layout: take WxJava, Silenceper or a function of your own")
			}
		}
		c.layouts = append(c.layouts, layouts...)
		return nil
	}}
}

// WithFailClosed makes [Limiter.Wait] fail while Redis is down. By default each process then keeps to the limit by
// itself: calls go on, and all processes together may make as many times the limit as there are processes. For
// [NewLimiter].
func WithFailClosed() Option {
	return Option{"WithFailClosed", []string{forLimiter}, func(c *config) error {
		c.failClosed = true
		return nil
	}}
}

// WithLogger logs when a limiter loses Redis and when it finds it again. A [Store] needs none, since its client logs
// what fails. For [NewLimiter].
func WithLogger(logger *slog.Logger) Option {
	return Option{"WithLogger", []string{forLimiter}, func(c *config) error {
		if logger == nil {
			return errors.New("nil logger: leave the option out for none")
		}
		c.logger = logger
		return nil
	}}
}

func atLeast(floor, d time.Duration) error {
	if d < floor {
		return fmt.Errorf("%v is too short: give at least %v", d, floor)
	}
	return nil
}

// configure applies the options for one of the functions that take them, and gives everything that is wrong.
func configure(user string, rdb redis.UniversalClient, opts []Option) (*config, []error) {
	c := &config{timeout: 300 * time.Millisecond, lease: 10 * time.Second, logger: slog.New(slog.DiscardHandler)}
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &wechatuser.ArgumentError{API: user, Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	if isNil(rdb) {
		wrong("rdb", "nil client")
	}
	for i, opt := range opts {
		if opt.set == nil {
			wrong("opts", "option %d is empty", i+1)
			continue
		}
		if !slices.Contains(opt.users, user) {
			wrong(opt.name, "it is for %s", opt.users[0])
			continue
		}
		if err := opt.set(c); err != nil {
			wrong(opt.name, "%v", err)
		}
	}
	return c, errs
}

// isNil sees through the interface: (*redis.Client)(nil) is nil too.
func isNil(rdb redis.UniversalClient) bool {
	if rdb == nil {
		return true
	}
	v := reflect.ValueOf(rdb)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
