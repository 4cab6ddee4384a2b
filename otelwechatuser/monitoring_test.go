package otelwechatuser_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.yaml.in/yaml/v3"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
)

// instrument is what is emitted under a name.
type instrument struct {
	kind, unit string
	attrs      map[string]map[string]bool // their values
}

func (i *instrument) add(set attribute.Set) {
	for key, value := range setAttrs(set) {
		if i.attrs[key] == nil {
			i.attrs[key] = map[string]bool{}
		}
		i.attrs[key][value] = true
	}
}

// instruments returns all that was recorded.
func (tel *telemetry) instruments(t *testing.T) map[string]*instrument {
	t.Helper()
	all := map[string]*instrument{}
	for _, scope := range tel.collect(t).ScopeMetrics {
		for _, m := range scope.Metrics {
			i := &instrument{unit: m.Unit, attrs: map[string]map[string]bool{}}
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				i.kind = "histogram"
				for _, p := range data.DataPoints {
					i.add(p.Attributes)
				}
			case metricdata.Sum[int64]:
				require.True(t, data.IsMonotonic, m.Name)
				i.kind = "counter"
				for _, p := range data.DataPoints {
					i.add(p.Attributes)
				}
			case metricdata.Gauge[float64]:
				i.kind = "gauge"
				for _, p := range data.DataPoints {
					i.add(p.Attributes)
				}
			default:
				require.Fail(t, "another kind of metric", "%s: %T", m.Name, m.Data)
			}
			all[m.Name] = i
		}
	}
	return all
}

// everything makes a client emit all metrics, and all attributes of metrics and spans.
func everything(t *testing.T) *telemetry {
	t.Helper()
	tel, app := newTelemetry(), otelwechatuser.WithAppID("wxFAKE000000000000")
	limited := &degradingLimiter{degraded: true}
	srv, c := tel.newClient(tel.withHook(app),
		wechatuser.WithInterceptor(otelwechatuser.Interceptor(tel.options(app)...)),
		wechatuser.WithLimiter(otelwechatuser.Limiter(limited, tel.options(app)...)),
		wechatuser.WithTokenStore(&brokenStore{wechatuser.NewMemoryTokenStore(), true}))
	ctx := t.Context()
	_, err := c.GetTags(ctx)
	require.NoError(t, err)
	_, err = c.RefreshToken(ctx)
	require.NoError(t, err)
	srv.FailNext(tagsPath, wechatuser.CodeSystemBusy, 3) // retries
	_, err = c.GetTags(ctx)
	require.Error(t, err)
	_, err = c.GetUserInfo(ctx, "oNobody") // a rid
	require.Error(t, err)
	srv.FailNext(tokenPath, wechatuser.CodeInvalidSecret, 1)
	_, err = c.RefreshToken(ctx)
	require.ErrorIs(t, err, wechatuser.ErrCredential)
	limited.err = errBroken
	_, err = c.GetTags(ctx)
	require.Error(t, err)

	source := wechatuser.StaticTokenSource("x")
	_, err = srv.Client(tel.withHook(app), wechatuser.WithTokenSource(source)).Token(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { runtime.KeepAlive(c) }) // the age of a token is that of a client that is used
	return tel
}

// rowsOf returns the cells of the tables of a text, without code marks, by the first cell of the header of their table.
func rowsOf(text string) map[string][][]string {
	tables, header, inTable := map[string][][]string{}, "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inTable = false
			continue
		}
		var cells []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		switch {
		case !inTable:
			header, inTable = strings.Trim(cells[0], "`"), true
		case !strings.HasPrefix(cells[0], "---"):
			tables[header] = append(tables[header], cells)
		}
	}
	return tables
}

var inCode = regexp.MustCompile("`([^`\n]+)`")

// inBackquotes returns what stands between backquotes.
func inBackquotes(text string) (all []string) {
	for _, match := range inCode.FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(text)
}

func TestREADMEListsWhatIsRecorded(t *testing.T) {
	tel, text := everything(t), readme(t)
	tables := rowsOf(text)

	listed := map[string]bool{}
	all := tel.instruments(t)
	for _, row := range tables["instrument"] {
		name := inBackquotes(row[0])[0]
		listed[name] = true
		got, ok := all[name]
		if !assert.True(t, ok, "%s is not recorded", name) {
			continue
		}
		assert.Equal(t, row[1], got.kind+", "+got.unit, name)
		assert.Contains(t, got.attrs, "wechat.app_id", name)
		delete(got.attrs, "wechat.app_id")
		assert.ElementsMatch(t, inBackquotes(row[2]), slices.Collect(maps.Keys(got.attrs)), "attributes of %s", name)
		for key, values := range got.attrs {
			switch key {
			case "wechat.token.reason", "wechat.token.source", "wechat.token.store.operation", "wechat.error.class":
				for value := range values {
					assert.Contains(t, text, "`"+value+"`", "a value of %s", key)
				}
			}
		}
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(all)), slices.Collect(maps.Keys(listed)))

	onCalls, onRefreshes := map[string]bool{}, map[string]bool{}
	for _, span := range tel.spans() {
		to := onCalls
		if span.Name == "refresh access token" {
			to = onRefreshes
		}
		for key := range attrs(span.Attributes) {
			to[key] = true
		}
	}
	for header, got := range map[string]map[string]bool{"attribute": onCalls, "attribute of a refresh": onRefreshes} {
		var names []string
		for _, row := range tables[header] {
			names = append(names, inBackquotes(row[0])[0])
		}
		assert.ElementsMatch(t, names, slices.Collect(maps.Keys(got)), header)
	}

	for _, row := range tables["wechat.error.class"] {
		assert.Contains(t, classNames, inBackquotes(row[0])[0]+" "+inBackquotes(row[1])[0])
	}
	assert.Len(t, tables["wechat.error.class"], len(classNames))
}

// classNames are the classes of errors, and their names in the SDK.
var classNames = []string{
	"ambiguous ErrAmbiguous", "unproven ErrUnproven", "credential ErrCredential", "permission ErrPermission",
	"rate_limited ErrRateLimited", "invalid_token ErrInvalidToken", "not_following ErrNotFollowing",
	"invalid_argument ErrInvalidArgument", "temporary ErrTemporary",
}

// series returns the labels of each time series that Prometheus has of what is recorded, by its name.
func series(t *testing.T) map[string]map[string]map[string]bool {
	t.Helper()
	var labels otlptranslator.LabelNamer
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	all := map[string]map[string]map[string]bool{}
	for name, i := range everything(t).instruments(t) {
		typ, suffixes := otlptranslator.MetricType(otlptranslator.MetricTypeGauge), []string{""}
		switch i.kind {
		case "histogram":
			typ, suffixes = otlptranslator.MetricTypeHistogram, []string{"_bucket", "_count", "_sum"}
		case "counter":
			typ = otlptranslator.MetricTypeMonotonicCounter
		}
		base, err := namer.Build(otlptranslator.Metric{Name: name, Unit: i.unit, Type: typ})
		require.NoError(t, err)
		for _, suffix := range suffixes {
			of := map[string]map[string]bool{"job": nil, "instance": nil}
			for key, values := range i.attrs {
				label, err := labels.Build(key)
				require.NoError(t, err)
				of[label] = values
			}
			if suffix == "_bucket" {
				of["le"] = nil
			}
			all[base+suffix] = of
		}
	}
	return all
}

var (
	grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	selector = regexp.MustCompile(`([a-zA-Z_]\w*)(\{[^}]*\})?(\(|,? ?)`)
	matcher  = regexp.MustCompile(`(\w+) ?(=~|!=|!~|=)"([^"]*)"`)
	window   = regexp.MustCompile(`\[[^\]]*\]`)
)

// checkQuery checks that a query of Prometheus uses only series, labels and values that exist. It is a check of names,
// not of the syntax.
func checkQuery(t *testing.T, all map[string]map[string]map[string]bool, query string) {
	t.Helper()
	functions := []string{
		"sum", "min", "max", "rate", "increase", "histogram_quantile", "scalar", "label_values", "and", "or",
	}
	grouped := map[string]bool{}
	for _, group := range grouping.FindAllStringSubmatch(query, -1) {
		for _, label := range strings.Split(group[1], ",") {
			grouped[strings.TrimSpace(label)] = true
		}
	}
	rest := window.ReplaceAllString(grouping.ReplaceAllString(query, ""), "")
	if of, ok := strings.CutPrefix(rest, "label_values("); ok {
		selected, label, _ := strings.Cut(strings.TrimSuffix(of, ")"), ", ")
		rest, grouped[label] = selected, true
	}
	used := 0
	for _, match := range selector.FindAllStringSubmatch(rest, -1) {
		name := match[1]
		if slices.Contains(functions, name) {
			continue
		}
		labels, ok := all[name]
		if !assert.True(t, ok, "%s is no series: %s", name, query) {
			continue
		}
		used++
		for label := range grouped {
			assert.Contains(t, labels, label, "%s is no label of %s: %s", label, name, query)
		}
		for _, m := range matcher.FindAllStringSubmatch(match[2], -1) {
			label, value := m[1], m[3]
			if assert.Contains(t, labels, label, "%s is no label of %s: %s", label, name, query) {
				for value := range strings.SplitSeq(value, "|") {
					assert.True(t, isValue(label, value), "%s is never %q: %s", label, value, query)
				}
			}
		}
	}
	assert.Positive(t, used, "the check found the series: %s", query)
}

// isValue reports whether a label can have this value, or a part of a regular expression that stands for one.
func isValue(label, value string) bool {
	if value == "" || strings.HasPrefix(value, "$") {
		return true
	}
	switch label {
	case "error_type", "rpc_response_status_code":
		words := []string{"timeout", "no_answer", "invalid_response", "not_sent", "canceled", "_OTHER", "5.."}
		code, err := strconv.Atoi(value)
		return slices.Contains(words, value) || err == nil && wechatuser.Code(code).Meaning() != ""
	case "wechat_error_class":
		return slices.ContainsFunc(classNames, func(name string) bool { return strings.HasPrefix(name, value+" ") })
	case "wechat_token_reason":
		return slices.Contains([]string{
			wechatuser.RefreshCold, wechatuser.RefreshExpiring, wechatuser.RefreshRejected, wechatuser.RefreshForced,
			wechatuser.RefreshAsked,
		}, value)
	case "wechat_limiter_degraded":
		return value == "true"
	}
	return false
}

// The check finds what is wrong.
func TestCheckQuery(t *testing.T) {
	all := series(t)
	for query, right := range map[string]bool{
		`sum by (job, error_type) (rate(rpc_client_call_duration_seconds_count{error_type=~"-1|45009"}[5m])) > 0`: true,
		`label_values(rpc_client_call_duration_seconds_count{job=~"$job"}, wechat_app_id)`:                        true,
		`wechat_client_requests_total`:                                                  true,
		`wechat_client_requests`:                                                        false,
		`rpc_client_call_duration_seconds_count{errortype="timeout"}`:                   false,
		`rpc_client_call_duration_seconds_count{error_type="4500"}`:                     false,
		`sum by (rpc_name) (rate(rpc_client_call_duration_seconds_sum[5m]))`:            false,
		`sum by (le) (rate(rpc_client_call_duration_seconds_count[5m]))`:                false,
		`label_values(rpc_client_call_duration_seconds_count, app_id)`:                  false,
		`wechat_client_token_refresh_duration_seconds_count{wechat_token_reason="due"}`: false,
	} {
		probe := &testing.T{}
		checkQuery(probe, all, query)
		assert.Equal(t, right, !probe.Failed(), query)
	}
}

// rule is an alert of alerts.yaml.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	require.NoError(t, dec.Decode(&file))
	for _, group := range file.Groups {
		assert.NotEmpty(t, group.Name)
		all = append(all, group.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

func TestAlerts(t *testing.T) {
	all, seen := series(t), map[string]bool{}
	guide, err := os.ReadFile("../docs/monitoring.md")
	require.NoError(t, err)
	source, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	for _, r := range rules(t) {
		checkQuery(t, all, r.Expr)
		assert.False(t, seen[r.Alert], "%s is there twice", r.Alert)
		seen[r.Alert] = true
		assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		assert.Regexp(t, `alert: `+r.Alert+`\n +# `, string(source), "a comment says why the threshold is what it is")
		for _, label := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
			assert.Regexp(t, `by \([^)]*\b`+label[1]+`\b`, r.Expr, "%s has no label %s", r.Alert, label[1])
		}
		_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "/blob/main/docs/monitoring.md#")
		heading := strings.ReplaceAll(anchor, "-", " ")
		found := regexp.MustCompile(`(?mi)^### ` + heading + `$`).Match(guide)
		assert.True(t, found, "%s is in no runbook of the guide: %q", r.Alert, heading)
		assert.True(t, strings.Contains(string(guide), "`"+r.Alert+"`"), "the guide names %s", r.Alert)
	}
	for _, name := range inBackquotes(string(guide)) {
		if strings.HasPrefix(name, "WeChat") {
			assert.True(t, seen[name], "the guide names %s", name)
		}
	}
}

// The guide names only metrics, labels and attributes that exist.
func TestNamesOfTheGuide(t *testing.T) {
	guide, err := os.ReadFile("../docs/monitoring.md")
	require.NoError(t, err)
	known := map[string]bool{}
	for name, labels := range series(t) {
		known[name] = true
		for label := range labels {
			known[label] = true
		}
		known[regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")] = true
	}
	for name, i := range everything(t).instruments(t) {
		known[name] = true
		for key := range i.attrs {
			known[key] = true
		}
	}
	seen := 0
	for _, text := range inBackquotes(string(guide)) {
		if name := regexp.MustCompile(`^(wechat|rpc|error)[._]\w[\w.]*`).FindString(text); name != "" && text != "errors.md" {
			seen++
			assert.True(t, known[name], "the guide names %s", name)
		}
		if m := matcher.FindStringSubmatch(text); m != nil {
			assert.True(t, isValue(m[1], m[3]), "the guide names %s", text)
		}
	}
	assert.Greater(t, seen, 10)
}

// Each code for which a person is needed is in an alert.
func TestAlertsHaveAllCodes(t *testing.T) {
	watched := map[string]bool{}
	for _, r := range rules(t) {
		for _, m := range matcher.FindAllStringSubmatch(r.Expr, -1) {
			for value := range strings.SplitSeq(m[3], "|") {
				watched[value] = true
			}
		}
	}
	for code := wechatuser.Code(1); code < 100_000; code++ {
		if errors.Is(code, wechatuser.ErrCredential) || errors.Is(code, wechatuser.ErrPermission) ||
			errors.Is(code, wechatuser.ErrRateLimited) || errors.Is(code, wechatuser.ErrInvalidToken) {
			assert.True(t, watched[fmt.Sprint(int(code))], "%d is in no alert", int(code))
		}
	}
}

func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			ID                 int
			Title, Description string
			Type               string
			GridPos            struct{ X, Y, W, H int }
			Targets            []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Type, Definition string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	all, seen, used := series(t), map[int]bool{}, ""
	for _, p := range dashboard.Panels {
		assert.False(t, seen[p.ID], "two panels have the ID %d", p.ID)
		seen[p.ID] = true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		if p.Type == "row" {
			continue
		}
		assert.NotEmpty(t, p.Description, p.Title)
		assert.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			checkQuery(t, all, target.Expr)
			used += target.Expr
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Type == "query" {
			checkQuery(t, all, v.Definition)
		}
	}
	for name := range all {
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
		assert.Contains(t, used, base, "each metric has a panel")
	}
}
