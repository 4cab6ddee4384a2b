package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"

	"golang.org/x/perf/benchfmt"
)

// dataset is what was measured: the configuration, and for each benchmark and unit a value for each round.
type dataset struct {
	config map[string]string
	values map[string]map[string][]float64
}

// procs is what the testing package puts behind the name of a benchmark.
var procs = regexp.MustCompile(`-\d+$`)

func read(path string) (dataset, error) {
	data := dataset{config: make(map[string]string), values: make(map[string]map[string][]float64)}
	f, err := os.Open(path)
	if err != nil {
		return data, err
	}
	defer f.Close()
	lines := benchfmt.NewReader(f, path)
	for lines.Scan() {
		switch rec := lines.Result().(type) {
		case *benchfmt.SyntaxError:
			return data, rec
		case *benchfmt.Result:
			for _, c := range rec.Config {
				data.config[c.Key] = string(c.Value)
			}
			name := procs.ReplaceAllString(string(rec.Name), "")
			if data.values[name] == nil {
				data.values[name] = make(map[string][]float64)
			}
			for _, v := range rec.Values {
				data.values[name][v.Unit] = append(data.values[name][v.Unit], v.Value)
			}
		}
	}
	return data, lines.Err()
}

// get is the median of what a benchmark gave in a unit, NaN where it was not run.
func (d dataset) get(name, unit string) float64 { return median(d.values[name][unit]) }

// ratio is the median of the ratios that the rounds gave.
func (d dataset) ratio(name, to, unit string) float64 {
	a, b := d.values[name][unit], d.values[to][unit]
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// The names of benchmarks.
func callName(api, client string) string { return "Call/api=" + api + "/client=" + client }

func throughputName(latency string, concurrency int) string {
	return fmt.Sprintf("Throughput/latency=%s/concurrency=%d", latency, concurrency)
}

func growthName(walk string, fans int) string {
	return fmt.Sprintf("Growth/walk=%s/fans=%d", walk, fans)
}
