package redisstore_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server is a redis-server of a test, on a free port of the loopback address and in a temporary folder.
//
// A connection in MONITOR mode sees every command that it gets, and the test fails if the app secret is in one.
type server struct {
	t       *testing.T
	port    string
	args    []string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended
	unheard bool          // there is no MONITOR in Sentinel

	mu    sync.Mutex
	lines []string // of MONITOR
	heard sync.WaitGroup
}

// startRedis starts a server, which ends with the test. It fails the test if Redis is not installed.
func startRedis(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, port: freePort(t)}
	s.args = append([]string{
		"--port", s.port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0",
	}, args...)
	s.start()
	t.Cleanup(s.finish)
	return s
}

// startSentinel starts a Sentinel that watches the server under the name "main", and needs nobody's consent.
func startSentinel(t *testing.T, primary *server) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, port: freePort(t), unheard: true}
	conf := filepath.Join(dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `
port %s
bind 127.0.0.1
dir %s
sentinel monitor main 127.0.0.1 %s 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
`, s.port, dir, primary.port), 0o600))
	s.args = []string{conf, "--sentinel"}
	s.start()
	t.Cleanup(s.finish)
	return s
}

// often is a pause between two looks at something.
const often = 20 * time.Millisecond

// eventually fails the test if the condition does not become true. It is asked in the test's own goroutine.
func eventually(t *testing.T, pause time.Duration, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(pause) {
		require.True(t, time.Now().Before(end), "it does not come true")
	}
}

func needRedis(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Redis server")
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: apt-get install redis-server, brew install redis, or go test -short to do without")
	}
	return path
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (s *server) addr() string { return "127.0.0.1:" + s.port }

// start starts the server for the first time, or again on the same port, and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(needRedis(s.t), s.args...)
	require.NoError(s.t, s.cmd.Start())
	s.exited = make(chan struct{})
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait()
	}()
	eventually(s.t, often, func() bool { return s.command("PING") == "+PONG" })
	if !s.unheard {
		s.listen()
	}
}

// command sends a command on a connection of its own and gives the first line of the answer, without a client that
// could have a mind of its own.
func (s *server) command(line string) string {
	conn, err := net.DialTimeout("tcp", s.addr(), time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
		return ""
	}
	answer, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer)
}

// listen notes all commands that the server gets, until it ends. A replica that is promoted ends it once.
func (s *server) listen() {
	in := s.monitor()
	require.NotNil(s.t, in)
	s.heard.Go(func() {
		for ; in != nil; in = s.monitor() {
			lines := bufio.NewScanner(in)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				s.mu.Lock()
				s.lines = append(s.lines, lines.Text())
				s.mu.Unlock()
			}
			_ = in.Close()
		}
	})
}

func (s *server) monitor() net.Conn {
	conn, err := net.Dial("tcp", s.addr())
	if err != nil {
		return nil
	}
	_, _ = fmt.Fprint(conn, "MONITOR\r\n")
	if _, err := io.ReadFull(conn, make([]byte, len("+OK\r\n"))); err != nil {
		_ = conn.Close()
		return nil
	}
	return conn
}

// saw reports whether a text was in a command so far.
func (s *server) saw(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.lines, func(line string) bool { return strings.Contains(line, text) })
}

// kill ends the server at once.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.heard.Wait()
}

// stop makes the server hang: connections stay, and nothing is answered. resume ends that.
func (s *server) stop()   { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGSTOP)) }
func (s *server) resume() { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGCONT)) }

func (s *server) finish() {
	s.kill()
	assert.False(s.t, s.saw(secret), "the app secret was sent to Redis")
}

// client is a client that ends with the test. Its timeouts are go-redis's own unless changed.
func (s *server) client(t *testing.T, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	opts := &redis.Options{Addr: s.addr()}
	for _, f := range change {
		f(opts)
	}
	rdb := redis.NewClient(opts)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
