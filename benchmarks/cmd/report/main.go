// Command report runs all benchmarks and writes the results into the tables of the README and the figures in results.
//
//	go run ./cmd/report          # takes some minutes, on an otherwise idle machine
//	go run ./cmd/report -render  # renders the last results again
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
)

const (
	readme  = "README.md"
	results = "results"
)

// measured is the file of results.
var measured = filepath.Join(results, "bench.txt")

func main() {
	rounds := flag.Int("rounds", 20, "number of runs of the short benchmarks")
	render := flag.Bool("render", false, "render the last results without measuring")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *render); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, render bool) error {
	if !render {
		if err := measure(ctx, rounds); err != nil {
			return err
		}
	}
	data, err := read(measured)
	if err != nil {
		return err
	}
	stat, err := command(ctx, "go", "tool", "benchstat",
		"-filter", ".name:Call OR .name:Crowd", "-row", ".name,/api", "-col", "/client", measured).Output()
	if err != nil {
		return fmt.Errorf("benchstat: %w", err)
	}
	if err := save("benchstat.txt", stat); err != nil {
		return err
	}
	if err := draw(data); err != nil {
		return err
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	if text, err = fillTables(text, data); err != nil {
		return err
	}
	return os.WriteFile(readme, text, 0o644)
}

// measure runs the benchmarks and writes the file of results.
func measure(ctx context.Context, rounds int) error {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "benchmarks.test")
	if err := command(ctx, "go", "test", "-c", "-o", program, ".").Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	var all bytes.Buffer
	fmt.Fprintf(&all, "go: %s\ncores: %d\nrounds: %d\n", runtime.Version(), runtime.NumCPU(), rounds)
	bench := func(pattern, time string) error {
		cmd := command(ctx, program,
			"-test.run=^$", "-test.timeout=20m", "-test.bench="+pattern, "-test.benchtime="+time)
		cmd.Stdout = io.MultiWriter(os.Stdout, &all)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", pattern, err)
		}
		return nil
	}
	// Each round runs all of them, so that other load on the machine affects both sides of a comparison.
	for range rounds {
		if err := bench("^Benchmark(Call|Crowd|Clock|Token|New|Decode)$", "50ms"); err != nil {
			return err
		}
	}
	if err := bench("^Benchmark(Walk|Throughput|Growth|BulkTagging|Binary)$", "1x"); err != nil {
		return err
	}
	if err := bench("^BenchmarkWalkCost$", "3x"); err != nil {
		return err
	}
	for _, pattern := range []string{"^BenchmarkSync$/^users=(100000|1000000)$", "^BenchmarkFailures$"} {
		if err := bench(pattern, "1x"); err != nil {
			return err
		}
	}
	return os.WriteFile(measured, all.Bytes(), 0o644)
}

// command returns a command that writes its errors to standard error.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	return cmd
}
