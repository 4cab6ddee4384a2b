package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// cluster runs all that a job needs on this machine: a Redis server, an in-memory account, and a process per role.
type cluster struct {
	*wechatusertest.Server
	dir    string // data directory of Redis
	port   string // port of Redis
	job    string
	limit  int
	stderr io.Writer
	redis  *exec.Cmd
}

// startCluster starts a Redis server with the data directory dir. Call close to stop it.
func startCluster(
	ctx context.Context, account *wechatusertest.Server, dir string, limit int, stderr io.Writer,
) (*cluster, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c := &cluster{Server: account, dir: dir, port: port, job: "demo", limit: limit, stderr: stderr}
	return c, c.startRedis(ctx)
}

// startRedis starts the Redis server, with the data of a previous run if there is one.
func (c *cluster) startRedis(ctx context.Context) error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("redis-server is not installed: apt-get install redis-server, or brew install redis")
	}
	// The queue must be persistent.
	c.redis = exec.Command(path, "--port", c.port, "--bind", "127.0.0.1", "--dir", c.dir,
		"--save", "", "--appendonly", "yes")
	if err := c.redis.Start(); err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{
		Addr: c.address(), MaxRetries: 50, MinRetryBackoff: 50 * time.Millisecond, MaxRetryBackoff: time.Second,
	})
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil {
		c.close()
		return fmt.Errorf("redis-server does not respond: %w", err)
	}
	return nil
}

// close kills the Redis server.
func (c *cluster) close() {
	_ = c.redis.Process.Kill()
	_ = c.redis.Wait()
}

func (c *cluster) address() string { return net.JoinHostPort("127.0.0.1", c.port) }

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// config returns the configuration of a role in this process.
func (c *cluster) config() config {
	return config{job: c.job, redis: redisFlags{addrs: c.address()}, api: c.URL, limit: c.limit}
}

func (c *cluster) openJob() (*job, error) { return openJob(c.config(), c.AppID, c.Secret) }

// start starts a role as a new process of this program. The process gets a SIGTERM when ctx is done.
func (c *cluster) start(ctx context.Context, role string, flags ...string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{
		role, "-job", c.job, "-redis", c.address(), "-api", c.URL, "-limit", strconv.Itoa(c.limit),
	}, flags...)...)
	cmd.Env = append(os.Environ(), "WECHAT_APPID="+c.AppID, "WECHAT_SECRET="+c.Secret, "REDIS_PASSWORD=")
	cmd.Stderr = c.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	return cmd, cmd.Start()
}
