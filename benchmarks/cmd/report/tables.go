package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

const (
	seconds = "sec/op"
	cpu     = "cpu-sec/op"
	allocs  = "allocs/op"
	memory  = "B/op"
	bare    = "bare"
	sdk     = "wechatuser"
)

// fillTables writes the tables into the text of the README, each between its markers.
func fillTables(text []byte, data dataset) ([]byte, error) {
	for name, content := range map[string]string{
		"machine": machine(data),
		"targets": targets(data),
		"decode":  decodeTable(data),
		"growth":  growthTable(data),
	} {
		begin, end := []byte("<!-- begin "+name+" -->\n"), []byte("<!-- end "+name+" -->")
		before, rest, ok := bytes.Cut(text, begin)
		_, after, ok2 := bytes.Cut(rest, end)
		if !ok || !ok2 {
			return nil, fmt.Errorf("%s: markers for %s not found", readme, name)
		}
		text = bytes.Join([][]byte{before, begin, []byte(content), end, after}, nil)
	}
	return text, nil
}

func machine(data dataset) string {
	c := data.config
	return fmt.Sprintf("%s, %s cores, %s/%s, %s; medians of %s rounds.\n",
		c["cpu"], c["cores"], c["goos"], c["goarch"], c["go"], c["rounds"])
}

// row is a row of the table of targets. Missing values are NaN.
type row struct {
	operation        string
	measure          string
	bare, sdk, ratio float64
	format           func(float64) string
	target           string
	met              bool
}

func targets(data dataset) string {
	var rows []row
	add := func(r row) { rows = append(rows, r) }
	none := math.NaN()

	calls := func(title, api string, time, maxAllocs, maxBytes float64) {
		b, s := callName(api, bare), callName(api, sdk)
		ratio := data.ratio(s, b, seconds)
		add(row{title, "time", data.get(b, seconds), data.get(s, seconds), ratio, duration,
			fmt.Sprintf("≤ %g × bare", time), ratio <= time})
		cpuRatio := data.ratio(s, b, cpu)
		add(row{"", "CPU time", data.get(b, cpu), data.get(s, cpu), cpuRatio, duration, "", cpuRatio <= time})
		for _, m := range []struct {
			name, unit string
			limit      float64
			format     func(float64) string
		}{{"allocations", allocs, maxAllocs, count}, {"memory", memory, maxBytes, bytesText}} {
			if !math.IsNaN(m.limit) {
				v := data.get(s, m.unit)
				add(row{"", m.name, data.get(b, m.unit), v, data.ratio(s, b, m.unit), m.format,
					"≤ " + m.format(m.limit), v <= m.limit})
			}
		}
	}
	calls("`GetUserInfo`", "GetUserInfo", 1.05, 80, 6_400)
	remark := callName("UpdateRemark", bare)
	calls("`UpdateRemark`", "UpdateRemark", 1.05, data.get(remark, allocs), data.get(remark, memory))
	calls("`BatchUserInfo` of 100", "BatchUserInfo", .6, 300, none)
	calls("`GetFans`, a page of 10,000", "GetFans", .35, 100, 1e6)

	const oneReader, readers = "Token/goroutines=1", "Token/goroutines=64"
	one, growth := data.get(oneReader, seconds), data.ratio(readers, oneReader, cpu)
	add(row{"read of the cached token", "time", data.get("Clock", seconds), one, none, duration,
		"≤ 20 ns", one <= 20e-9})
	clock, read := data.get("Clock", cpu), data.get(oneReader, cpu)
	add(row{"", "CPU time, 1 goroutine", clock, read, none, duration, "≤ clock + 20 ns", read <= clock+20e-9})
	add(row{"", "CPU time, 64 goroutines", none, data.get(readers, cpu), none, duration,
		"≤ 1.2 × 1 goroutine", growth <= 1.2})
	a := data.get(readers, allocs)
	add(row{"", "allocations", none, a, none, count, "0", a == 0})

	const bareCrowd, sdkCrowd = "Crowd/client=" + bare, "Crowd/client=" + sdk
	ratio := data.ratio(bareCrowd, sdkCrowd, seconds) // of times, so that it is the inverse ratio of throughputs
	perSecond := func(v float64) string { return grouped(1/v) + "/s" }
	add(row{"`GetUserInfo` from 64 goroutines", "calls", data.get(bareCrowd, seconds), data.get(sdkCrowd, seconds),
		ratio, perSecond, "≥ 1 × bare", ratio >= 1})
	conns := data.get(sdkCrowd, "conns")
	add(row{"", "connections opened", data.get(bareCrowd, "conns"), conns, none, count, "≤ 64", conns <= 64})

	b, s := data.get("Walk/client="+bare, "users/s"), data.get("Walk/client="+sdk, "users/s")
	add(row{"iteration over 1,000,000 profiles, 20 ms per call, 8 concurrent calls", "profiles", b, s, s / b,
		func(v float64) string { return grouped(v) + "/s" }, "≥ 7 × bare", s/b >= 7})
	n := data.get("Walk/client="+sdk, "calls")
	add(row{"", "calls", none, n, none, count, "= 100 + 1 + 10,000", n == 10_101})
	live := data.get("Walk/client="+sdk, "live-MiB")
	mebibytes := func(v float64) string { return fmt.Sprintf("%.1f MiB", v) }
	add(row{"", "live heap", none, live, none, mebibytes, "≤ 32 MiB", live <= 32})

	for _, w := range []struct{ bodies, title string }{
		{"plain", "iteration over 100,000 profiles, 4 concurrent calls"},
		{"escapes", "the same with an escape in each response"},
	} {
		b, s := walkName(w.bodies, bare), walkName(w.bodies, sdk)
		a := data.get(s, allocs)
		if math.IsNaN(a) {
			continue // results of an older run
		}
		add(row{w.title, "CPU time", data.get(b, cpu), data.get(s, cpu), data.ratio(s, b, cpu), duration, "", true})
		add(row{"", "allocations", data.get(b, allocs), a, data.ratio(s, b, allocs), count, "≤ 100,000", a <= 100_000})
		m := data.get(s, memory)
		add(row{"", "memory", data.get(b, memory), m, data.ratio(s, b, memory), bytesText, "≤ 45 MB", m <= 45e6})
	}
	if held := data.get("Sync/users=1000000", "input-B/openid"); !math.IsNaN(held) {
		add(row{"`SyncTag` of 1,000,000, memory per openid", "wanted", none, held, none, bytesText, "≤ 120 B", held <= 120})
		planned := data.get("Sync/users=1000000", "report-B/openid")
		add(row{"", "in the report of a dry run", none, planned, none, bytesText, "≤ 65 B", planned <= 65})
		failed := data.get("Failures", "report-B/openid")
		add(row{"`BulkTagging`, memory per failure", "in the report", none, failed, none, bytesText, "≤ 260 B", failed <= 260})
	}

	floors := data.get("BulkTagging", "floors")
	add(row{"`BulkTagging` of 1,000,000, 0.1 % rejected", "calls", 20_000, data.get("BulkTagging", "calls"), floors,
		count, "≤ 1.5 × ⌈n/50⌉", floors <= 1.5})

	newTime := data.get("New", seconds)
	add(row{"`New`", "time", none, newTime, none, duration, "≤ 10 µs", newTime <= 10e-6})
	bareSize := data.get("Binary/program=nethttp", "binary-bytes")
	sdkSize := data.get("Binary/program=wechatuser", "binary-bytes")
	add(row{"binary of a small program", "size", bareSize, sdkSize, sdkSize / bareSize, bytesText,
		"≤ bare + 1.5 MB", sdkSize-bareSize <= 1.5e6})

	var t strings.Builder
	t.WriteString("| operation | | bare net/http | this SDK | ratio | target | met |\n|---|---|--:|--:|--:|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %s | %s |\n", r.operation, r.measure,
			optional(r.bare, r.format), optional(r.sdk, r.format),
			optional(r.ratio, func(v float64) string { return fmt.Sprintf("%.2f", v) }), r.target, r.verdict())
	}
	return t.String()
}

// verdict returns whether the target is met, or "" if there is none.
func (r row) verdict() string {
	switch {
	case r.target == "":
		return ""
	case r.met:
		return "yes"
	default:
		return "**no**"
	}
}

func decodeTable(data dataset) string {
	var t strings.Builder
	t.WriteString("| decoder | time | CPU time | memory | allocations |\n|---|--:|--:|--:|--:|\n")
	for _, d := range decoders {
		name := "Decode/with=" + d.key
		fmt.Fprintf(&t, "| %s | %s | %s | %s | %s |\n", d.name, duration(data.get(name, seconds)),
			duration(data.get(name, cpu)), bytesText(data.get(name, memory)), count(data.get(name, allocs)))
	}
	return t.String()
}

func growthTable(data dataset) string {
	var t strings.Builder
	t.WriteString("| followers | openids only: calls | time | live heap | with profiles: calls | time | live heap |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, fans := range fanCounts {
		fmt.Fprintf(&t, "| %s |", grouped(float64(fans)))
		for _, walk := range []string{"followers", "profiles"} {
			name := growthName(walk, fans)
			fmt.Fprintf(&t, " %s | %s | %.1f MiB |",
				count(data.get(name, "calls")), duration(data.get(name, seconds)), data.get(name, "live-MiB"))
		}
		t.WriteByte('\n')
	}
	return t.String()
}

// optional formats a value, and returns "" for NaN.
func optional(v float64, format func(float64) string) string {
	if math.IsNaN(v) {
		return ""
	}
	return format(v)
}

// The formats have two or three significant digits.

// duration formats a number of seconds.
func duration(s float64) string {
	for _, u := range []struct {
		unit string
		size float64
	}{{"s", 1}, {"ms", 1e-3}, {"µs", 1e-6}} {
		if s >= u.size {
			return short(s/u.size) + " " + u.unit
		}
	}
	return short(s*1e9) + " ns"
}

// bytesText formats a number of bytes.
func bytesText(b float64) string {
	switch {
	case b >= 1e6:
		return fmt.Sprintf("%.2f MB", b/1e6)
	case b >= 1e3:
		return fmt.Sprintf("%.1f kB", b/1e3)
	default:
		return fmt.Sprintf("%.0f B", b)
	}
}

// short formats v with one decimal below 10 and without decimals above.
func short(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func count(v float64) string { return grouped(v) }

// grouped formats a whole number with commas.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
