package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Check reports whether the store can be used: it connects, authenticates, and writes, reads and deletes a key of its
// own, "wechatuser:token:check:" followed by a random text. Use it when a program starts, and for a readiness probe.
//
// Each of its round trips takes no longer than [WithTimeout] and [WithConnectTimeout] together. A successful check ends
// the pause during which Redis is not used after a failure. Its error says what is wrong and how to fix it, such as a
// wrong password, a missing permission, a read-only replica or a server that is not Redis. It matches [ErrUnavailable]
// if the problem may go away by itself.
func (s *Store) Check(ctx context.Context) error {
	name, value := s.prefix+"wechatuser:token:check:"+rand.Text(), rand.Text()
	written, err := s.compareAndSwap(ctx, doOnce[bool], name, "", value, 10*time.Second)
	if err != nil {
		return explain(err)
	}
	found, err := s.get(ctx, doOnce[string], name)
	if err != nil {
		return explain(err)
	}
	if len(s.layouts) > 0 {
		if _, err := s.loadForeign(ctx, doOnce[reply], name); err != nil {
			return explain(err)
		}
	}
	deleted, err := s.compareAndSwap(ctx, doOnce[bool], name, value, "", 0)
	if err != nil {
		return explain(err)
	}
	if !written || !deleted || found != value {
		return errors.New("redisstore: a value that was written could not be read again: use the primary of a single " +
			"server, of Sentinel or of Cluster, and no proxy that spreads commands over servers")
	}
	return nil
}

// Check reports whether the limiter can use Redis: it connects, authenticates and runs the script of the limiter,
// without reserving a place. Its error is like that of [Store.Check]. A limiter whose check fails still works, in this
// process alone, unless [WithFailClosed] is given.
func (l *Limiter) Check(ctx context.Context) error {
	_, err := l.runScript(ctx, doOnce[time.Duration], 0)
	return explain(err)
}

// explain adds to an error what is wrong with Redis and how to fix it. It wraps the error.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if reason := reasonOf(err); reason != "" {
		return fmt.Errorf("redisstore: %s (%w)", reason, err)
	}
	return err
}

var (
	deniedCommand = regexp.MustCompile(`(?:run|execute) the '([^']+)' command`)
	deniedKey     = regexp.MustCompile(`(?i)no permissions to access (a|one of the) key`)
)

// reasonOf returns what an error means and how to fix it, or an empty string if the error is clear by itself.
func reasonOf(err error) string {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	var network net.Error
	switch {
	case has("WRONGPASS", "invalid password", "invalid username-password pair"):
		return "wrong user name or password of Redis"
	case has("NOAUTH", "Authentication required"):
		return "Redis requires a password: set Password, and Username if it has users, in the options of go-redis"
	case deniedKey.MatchString(text):
		return "the Redis user has no permission for the key: allow ~wechatuser:*, or the prefix that you have set"
	case deniedCommand.MatchString(text):
		return "the Redis user has no permission for the command '" + deniedCommand.FindStringSubmatch(text)[1] +
			"': see the ACL in the README of redisstore"
	case has("NOPERM", "can't run this command"):
		return "the Redis user has no permission for a command: see the ACL in the README of redisstore"
	case has("READONLY"):
		return "this Redis is a read-only replica: connect to the primary, or through Sentinel or Cluster"
	case has("cluster support disabled"):
		return "this Redis is not a Cluster: use redis.NewClient, or a single address with NewUniversalClient"
	case has("MOVED ", "CROSSSLOT"):
		return "this Redis is a node of a Cluster: use redis.NewClusterClient"
	case has("No such master", "all sentinels specified in configuration are unreachable"):
		return "Sentinel does not know the primary: check the addresses and the MasterName"
	case has("CLUSTERDOWN"):
		return "the Cluster does not serve this key: see CLUSTER INFO"
	case has("OOM command not allowed"):
		return "Redis is out of memory: raise maxmemory"
	case has("MISCONF"):
		return "Redis can't save to its disk and rejects writes: see its log"
	case has("LOADING"):
		return "Redis is loading its data"
	case has("unknown command"):
		return "this Redis lacks a command: scripts, GET, SET, DEL and TIME are needed, as in Redis 5 and later"
	case has("does not look like a TLS handshake"):
		return "the server does not use TLS: remove TLSConfig from the options of go-redis, or check the port"
	case has("x509:", "tls:"):
		return "TLS with Redis fails: check the certificate and TLSConfig"
	case has("redis: can't parse", "redis: invalid", "unexpected response"):
		return "the server is not Redis: check address and port"
	case errors.Is(err, io.EOF) || has("connection reset", "broken pipe"):
		return "the server closed the connection: if it uses TLS, set TLSConfig; otherwise check that it is Redis"
	case errors.As(err, &network) && !network.Timeout(), has("dial "):
		return "Redis can't be reached: check address, port and firewall"
	case errors.As(err, &network), has("no response within"):
		return "Redis does not respond: check address, port and load, and whether it uses TLS"
	case errors.Is(err, redis.ErrClosed):
		return "the go-redis client is closed"
	}
	return ""
}
