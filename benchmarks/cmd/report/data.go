package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"

	"golang.org/x/perf/benchfmt"
)

// dataset holds the results: the configuration, and for each benchmark and unit one value per round.
type dataset struct {
	config map[string]string
	values map[string]map[string][]float64
}

// procs matches the suffix that the testing package appends to the name of a benchmark.
var procs = regexp.MustCompile(`-\d+$`)

// read parses a file of results.
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

// get returns the median of the values of a benchmark in a unit, or NaN if there are none.
func (d dataset) get(name, unit string) float64 { return median(d.values[name][unit]) }

// ratio returns the median of the ratios of the rounds.
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

// callName returns the name of a benchmark of one API call.
func callName(api, client string) string { return "Call/api=" + api + "/client=" + client }

// walkName returns the name of a benchmark of the cost of an iteration.
func walkName(bodies, client string) string { return "WalkCost/bodies=" + bodies + "/client=" + client }

// throughputName returns the name of a benchmark of throughput.
func throughputName(latency string, concurrency int) string {
	return fmt.Sprintf("Throughput/latency=%s/concurrency=%d", latency, concurrency)
}

// growthName returns the name of a benchmark of growth.
func growthName(walk string, fans int) string {
	return fmt.Sprintf("Growth/walk=%s/fans=%d", walk, fans)
}
