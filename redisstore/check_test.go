package redisstore_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/redisstore"
)

// checks returns the checks of a store and of a limiter that use the same client.
func checks(t *testing.T, rdb redis.UniversalClient, opts ...redisstore.Option) map[string]func(context.Context) error {
	t.Helper()
	l, err := redisstore.NewLimiter(rdb, "wechatuser:limit:"+appID, redisstore.PerMinute(600),
		redisstore.WithTimeout(patientTimeout))
	require.NoError(t, err)
	return map[string]func(context.Context) error{"store": newStore(t, rdb, opts...).Check, "limiter": l.Check}
}

func TestCheckSucceedsAndLeavesNothing(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	all := checks(t, rdb, redisstore.WithReadFrom(redisstore.WxJava("")), redisstore.WithKeyPrefix("crm:"))
	for name, check := range all {
		require.NoError(t, check(t.Context()), name)
	}
	eventually(t, pollInterval, func() bool { return len(rdb.Keys(t.Context(), "*").Val()) == 0 })
	assert.NotZero(t, rs.receivedAll(`"crm:wechatuser:token:check:`))

	l, err := redisstore.NewLimiter(rdb, limitKey, redisstore.PerMinute(1))
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, l.Check(t.Context()))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, l.Wait(ctx), "a check takes no place")
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	users := startRedis(t)
	admin := users.client(t)
	for user, permissions := range map[string]string{
		"all":      "~wechatuser:* +get +set +del +time +eval +evalsha",
		"noeval":   "~wechatuser:* +get +set +del +time +eval",
		"noset":    "~wechatuser:* +get +del +time +eval +evalsha",
		"otherkey": "~elsewhere:* +get +set +del +time +eval +evalsha",
	} {
		args := []any{"ACL", "SETUSER", user, "on", ">password"}
		for _, permission := range strings.Fields(permissions) {
			args = append(args, permission)
		}
		require.NoError(t, admin.Do(t.Context(), args...).Err())
	}
	as := func(user, password string) *redis.Client {
		return users.client(t, withoutRetries, func(o *redis.Options) { o.Username, o.Password = user, password })
	}
	locked := startRedis(t)
	require.Equal(t, "+OK", locked.command("CONFIG SET requirepass password"))
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+users.port)
	node := startRedis(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t))
	full := startRedis(t)
	require.Equal(t, "+OK", full.command("CONFIG SET maxmemory 1"))
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	at := func(addr string, change ...func(*redis.Options)) *redis.Client {
		o := &redis.Options{Addr: addr, DialTimeout: time.Second, ReadTimeout: time.Second}
		withoutRetries(o)
		for _, f := range change {
			f(o)
		}
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	withTLS := func(o *redis.Options) { o.TLSConfig = &tls.Config{ServerName: "127.0.0.1"} }
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{users.addr()}, MaxRedirects: 1})
	t.Cleanup(func() { _ = cluster.Close() })

	for name, test := range map[string]struct {
		rdb       redis.UniversalClient
		want      string
		temporary bool
	}{
		"a wrong password":          {as("all", "wrong"), "wrong user name or password of Redis", false},
		"an unknown user":           {as("nobody", "password"), "wrong user name or password of Redis", false},
		"no password":               {at(locked.addr()), "Redis requires a password", false},
		"no permission for EVALSHA": {as("noeval", "password"), "no permission for the command 'evalsha'", false},
		"no permission for SET":     {as("noset", "password"), "no permission for a command", false},
		"no permission for the key": {as("otherkey", "password"), "no permission for the key", false},
		"a replica":                 {at(replica.addr()), "read-only replica: connect to the primary", true},
		"a node without slots":      {at(node.addr()), "the Cluster does not serve this key", true},
		"no Cluster":                {cluster, "this Redis is not a Cluster", false},
		"out of memory":             {at(full.addr()), "out of memory", false},
		"a web server":              {at(web.Listener.Addr().String()), "the server is not Redis", true},
		"TLS for no TLS":            {at(users.addr(), withTLS), "Redis does not respond", true},
		"no TLS for TLS":            {at(secure.Listener.Addr().String()), "the server", true},
		"an unknown certificate":    {at(secure.Listener.Addr().String(), withTLS), "TLS with Redis fails", true},
		"nobody listens":            {at("127.0.0.1:1"), "Redis can't be reached", true},
		"no response":               {at(silent.Addr().String()), "Redis does not respond", true},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, check := range checks(t, test.rdb) {
				err := check(t.Context())
				require.ErrorContains(t, err, test.want, kind)
				t.Log(err)
				assert.Equal(t, test.temporary, strings.Contains(err.Error(), "unavailable"), kind)
				if test.temporary {
					assert.ErrorIs(t, err, redisstore.ErrUnavailable)
				}
			}
		})
	}
	for name, check := range checks(t, as("all", "password")) {
		require.NoError(t, check(t.Context()), name)
	}
}

// A check ends the pause after a failure.
func TestCheckFindsRedisAgain(t *testing.T) {
	rs := startRedis(t)
	s := newStore(t, rs.client(t, withoutRetries))
	rs.kill()
	require.ErrorIs(t, s.Check(t.Context()), redisstore.ErrUnavailable)
	_, err := s.Load(t.Context(), key)
	require.ErrorContains(t, err, "next attempt in")
	rs.start()
	require.NoError(t, s.Check(t.Context()))
	_, err = s.Load(t.Context(), key)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Check(ctx), context.Canceled)
}
