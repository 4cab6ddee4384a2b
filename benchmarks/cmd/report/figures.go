package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/wechatuser/wechatuser/benchmarks/internal/plot"
)

// The cases of the benchmarks, in the order of the tables and figures.
var (
	decoders = []struct{ key, name string }{
		{"json.Decoder", "json.Decoder"},
		{"json.Unmarshal", "json.Unmarshal"},
		{"go-json-experiment", "go-json-experiment"},
		{"fastjson", "fastjson"},
		{"goccy_go-json", "goccy/go-json"},
		{"sonic", "sonic"},
		{"wechatuser", "this SDK"},
	}
	latencies = []struct{ key, name string }{
		{"5ms", "5 ms"}, {"20ms", "20 ms"}, {"50ms", "50 ms"}, {"100ms", "100 ms"},
	}
	concurrencies = []int{1, 2, 4, 8, 16, 32, 64}
	fanCounts     = []int{10_000, 100_000, 1_000_000, 10_000_000}
)

// draw writes the figures.
func draw(data dataset) error {
	return errors.Join(
		save("decode.svg", plot.SVG("CPU time, memory and allocations for fetching a page of 10,000 openids "+
			"with this SDK and with other decoders.", decodeFigure(data)...)),
		save("throughput.svg", plot.SVG("Profiles per second, and the speedup over one call at a time, "+
			"by number of concurrent calls, for four latencies.", throughputFigure(data)...)),
		save("growth.svg", plot.SVG("API calls, time and live heap of an iteration by number of followers.",
			growthFigure(data)...)),
	)
}

func save(name string, svg []byte) error {
	return os.WriteFile(filepath.Join(results, name), svg, 0o644)
}

func decodeFigure(data dataset) (panels []plot.Panel) {
	for _, p := range []struct {
		title, unit string
		format      func(float64) string
	}{
		{"CPU time for a page of 10,000 openids", cpu, duration},
		{"Memory allocated", memory, bytesText},
		{"Allocations", allocs, count},
	} {
		bars := plot.Bars{Title: p.title}
		for _, d := range decoders {
			v := data.get("Decode/with="+d.key, p.unit)
			bars.Rows = append(bars.Rows, plot.Bar{Name: d.name, Value: v, Text: p.format(v), Own: d.key == sdk})
		}
		panels = append(panels, bars)
	}
	return panels
}

func throughputFigure(data dataset) []plot.Panel {
	x := plot.Axis{Label: "concurrent calls", Log: true}
	for _, c := range concurrencies {
		x.Ticks = append(x.Ticks, float64(c))
	}
	speed := plot.Lines{
		Title: "Iteration over followers and their profiles", X: x,
		Y: plot.Axis{Label: "profiles per second", Log: true, Format: grouped},
	}
	speedup := plot.Lines{
		Title: "Speedup over one call at a time", X: x,
		Y:      plot.Axis{Label: "speedup", Log: true, Ticks: x.Ticks},
		Series: []plot.Series{{Name: "ideal", X: x.Ticks, Y: x.Ticks, Thin: true}},
	}
	for _, latency := range latencies {
		s := plot.Series{Name: latency.name, X: x.Ticks, Dots: true}
		g := s
		for _, c := range concurrencies {
			s.Y = append(s.Y, data.get(throughputName(latency.key, c), "users/s"))
			g.Y = append(g.Y, s.Y[len(s.Y)-1]/s.Y[0])
		}
		speed.Series, speedup.Series = append(speed.Series, s), append(speedup.Series, g)
	}
	return []plot.Panel{speed, speedup}
}

func growthFigure(data dataset) (panels []plot.Panel) {
	for _, p := range []struct {
		unit string
		y    plot.Axis
		name string
	}{
		{"calls", plot.Axis{Label: "calls", Log: true, Format: grouped}, "API calls"},
		{seconds, plot.Axis{Label: "seconds", Log: true}, "Time without network latency"},
		{"live-MiB", plot.Axis{Label: "MiB above the heap at the start", Ticks: []float64{0, 8, 16, 24, 32}},
			"Largest live heap"},
	} {
		l := plot.Lines{Title: p.name, X: plot.Axis{Label: "followers", Log: true}, Y: p.y}
		for _, fans := range fanCounts {
			l.X.Ticks = append(l.X.Ticks, float64(fans))
		}
		l.X.Format = func(v float64) string {
			return map[float64]string{1e4: "10 thousand", 1e5: "100 thousand", 1e6: "1 million", 1e7: "10 million"}[v]
		}
		for _, walk := range []string{"profiles", "followers"} {
			name := map[string]string{"profiles": "with profiles", "followers": "openids only"}[walk]
			s := plot.Series{Name: name, Dots: true}
			for _, fans := range fanCounts {
				s.X = append(s.X, float64(fans))
				s.Y = append(s.Y, data.get(growthName(walk, fans), p.unit))
			}
			l.Series = append(l.Series, s)
		}
		panels = append(panels, l)
	}
	return panels
}
