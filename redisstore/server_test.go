package redisstore_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

// server is a redis-server on a free port of the loopback address, with a temporary folder.
//
// A connection in MONITOR mode records all commands; the test fails if one contains the app secret.
type server struct {
	t         *testing.T
	port      string
	args      []string
	cmd       *exec.Cmd
	exited    chan struct{} // closed when cmd has ended
	noMonitor bool          // Sentinel has no MONITOR

	mu         sync.Mutex
	commands   []string // lines of MONITOR
	monitoring sync.WaitGroup
}

// startRedis starts a server and stops it at the end of the test. It fails the test if Redis is not installed.
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

// startSentinel starts a Sentinel that monitors the primary under the name "main" and has a quorum of one. It notices
// an outage after half a minute, so that a stall of the machine causes no failover; see noticeOutage.
func startSentinel(t *testing.T, primary *server) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, port: freePort(t), noMonitor: true}
	conf := filepath.Join(dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `
port %s
bind 127.0.0.1
dir %s
sentinel monitor main 127.0.0.1 %s 1
sentinel down-after-milliseconds main 30000
sentinel failover-timeout main 3000
`, s.port, dir, primary.port), 0o600))
	s.args = []string{conf, "--sentinel"}
	s.start()
	t.Cleanup(s.finish)
	return s
}

// noticeOutage makes a Sentinel notice that the primary is down.
func (s *server) noticeOutage() {
	s.t.Helper()
	eventually(s.t, pollInterval, func() bool {
		return s.command("SENTINEL SET main down-after-milliseconds 200") == "+OK"
	})
}

// pollInterval is the time between two evaluations of a cheap condition.
const pollInterval = 20 * time.Millisecond

// eventually fails the test if the condition does not become true in time. It calls the condition in the goroutine of
// the test.
func eventually(t *testing.T, interval time.Duration, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !condition(); time.Sleep(interval) {
		require.True(t, time.Now().Before(end), "the condition did not become true in time")
	}
}

// needRedis returns the path of redis-server.
func needRedis(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Redis server")
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal(
			"redis-server is not installed: use apt-get install redis-server, brew install redis, or go test -short")
	}
	return path
}

// freePort returns a port that no other test gets and that the system does not use for outgoing connections.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(20000 + mathrand.N(12000))
		if _, used := usedPorts.LoadOrStore(port, true); used {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
}

var usedPorts sync.Map

func (s *server) addr() string { return "127.0.0.1:" + s.port }

// start starts the server, or restarts it on the same port, and waits until it responds.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(needRedis(s.t), s.args...)
	require.NoError(s.t, s.cmd.Start())
	s.exited = make(chan struct{})
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait()
	}()
	eventually(s.t, pollInterval, func() bool { return s.command("PING") == "+PONG" })
	if !s.noMonitor {
		s.recordCommands()
	}
}

// command sends a command on its own connection and returns the first line of the response, or an empty string if there
// is none. It uses no client, since a client may retry.
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
	line, _ = bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

// recordCommands records all commands of the server until it ends. A replica closes the MONITOR connection when it is
// promoted, so a new one is opened.
func (s *server) recordCommands() {
	in := s.monitor()
	require.NotNil(s.t, in)
	s.monitoring.Go(func() {
		for ; in != nil; in = s.monitor() {
			lines := bufio.NewScanner(in)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				s.mu.Lock()
				s.commands = append(s.commands, lines.Text())
				s.mu.Unlock()
			}
			_ = in.Close()
		}
	})
}

// monitor opens a MONITOR connection, nil if the server does not respond.
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

// received returns the number of commands so far whose line of MONITOR contains a text.
func (s *server) received(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, line := range s.commands {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// receivedAll is received after MONITOR has reported all commands up to now.
func (s *server) receivedAll(text string) int {
	s.t.Helper()
	marker := "marker " + rand.Text()
	eventually(s.t, pollInterval, func() bool {
		s.command(fmt.Sprintf("ECHO %q", marker))
		return s.received(marker) > 0
	})
	return s.received(text)
}

// kill ends the server at once.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.monitoring.Wait()
}

// stop makes the server hang: connections stay open without a response. resume ends that.
func (s *server) stop()   { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGSTOP)) }
func (s *server) resume() { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGCONT)) }

func (s *server) finish() {
	s.kill()
	assert.Zero(s.t, s.received(secret), "the app secret was sent to Redis")
}

// client returns a client that is closed at the end of the test. It has the default options of go-redis unless changed.
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

// withoutRetries makes a client fail at once if Redis refuses connections.
func withoutRetries(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }

// startProxy forwards connections to a server, and delays each direction. It returns its address.
func startProxy(t *testing.T, addr string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	closed := false
	track := func(conn net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			_ = conn.Close()
			return false
		}
		open = append(open, conn)
		return true
	}
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil || !track(in) || !track(out) {
				_ = in.Close()
				continue
			}
			wg.Go(func() { forward(out, in, delay) })
			wg.Go(func() { forward(in, out, delay) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		closed = true
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// forward copies from one connection to another until one of them ends.
func forward(to, from net.Conn, delay time.Duration) {
	type piece struct {
		data []byte
		at   time.Time
	}
	pieces := make(chan piece, 1000)
	go func() {
		defer close(pieces)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			pieces <- piece{data[:n], time.Now().Add(delay)}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.at))
		_, _ = to.Write(p.data)
	}
	_ = to.Close()
}
