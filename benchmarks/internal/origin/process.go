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

// Config is the account that a server makes up.
type Config struct {
	// Fans is how many followers the account has.
	Fans int
	// Latency is how long each answer takes.
	Latency time.Duration
}

// Stats is what a server has seen.
type Stats struct {
	Calls map[string]int // by path
	Conns int            // connections accepted
}

// Total is the number of calls but those for tokens.
func (s Stats) Total() (n int) {
	for path, calls := range s.Calls {
		if path != TokenPath {
			n += calls
		}
	}
	return n
}

// Process is a server in a process of its own, so that its work is in no figure of the client's.
type Process struct {
	URL    string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// configEnv makes a program that calls Main a server.
const configEnv = "WECHATUSER_BENCHMARK_SERVER"

// Main must be called first by a program that calls Start, which runs it a second time as the server; there it does not
// return.
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
	// One line in asks for one line of Stats; the end of the input, which comes if the parent dies too, is the end.
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

// Start runs this program again as a server.
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

// Stats asks the server what it has seen so far.
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

// Close ends the server and waits for it.
func (p *Process) Close() error {
	p.stdin.Close()
	return p.cmd.Wait()
}
