package origin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Config describes the account of a server.
type Config struct {
	// Fans is the number of followers.
	Fans int
	// Tagged is the number of followers who have the tag: the last ones.
	Tagged int
	// Latency is the time before each response.
	Latency time.Duration
	// Escapes puts an escape into one profile of each batch.
	Escapes bool
}

// Stats counts what a server has received.
type Stats struct {
	Calls map[string]int // by path
	Conns int            // connections accepted
}

// Total returns the number of calls without token requests.
func (s Stats) Total() (n int) {
	for path, calls := range s.Calls {
		if path != TokenPath {
			n += calls
		}
	}
	return n
}

// Process is a server in a process of its own, so that its work does not count in the measurements of the client.
type Process struct {
	URL    string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// configEnv is the environment variable that makes Main run the server.
const configEnv = "WECHATUSER_BENCHMARK_SERVER"

// Main runs the server if the process was started by [Start], and does not return then. A program that calls Start must
// call Main first.
func Main() {
	text := os.Getenv(configEnv)
	if text == "" {
		return
	}
	var cfg Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fatal(err)
	}
	s := newServer(cfg)
	go s.serve(ln)
	fmt.Println("http://" + ln.Addr().String())
	// The server writes one line of Stats for each line of input. It exits at the end of the input, so also if the parent
	// dies.
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := json.NewEncoder(os.Stdout).Encode(s.stats()); err != nil {
			fatal(err)
		}
	}
	os.Exit(0)
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Start runs the current program again as a server.
func Start(cfg Config) (*Process, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), configEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if p.URL, err = p.stdout.ReadString('\n'); err != nil {
		return nil, fmt.Errorf("the server did not start: %w", errors.Join(err, p.Close()))
	}
	p.URL = strings.TrimSpace(p.URL)
	return p, nil
}

// Stats returns what the server has counted so far.
func (p *Process) Stats() (s Stats, err error) {
	if _, err = io.WriteString(p.stdin, "\n"); err != nil {
		return s, err
	}
	line, err := p.stdout.ReadBytes('\n')
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(line, &s)
}

// Close stops the server and waits for its exit.
func (p *Process) Close() error {
	p.stdin.Close()
	return p.cmd.Wait()
}
