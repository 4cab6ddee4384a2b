package wechatuserpush

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// limitedLog limits the lines about one reason, so that nobody can fill a log by sending requests.
type limitedLog struct {
	logger *slog.Logger

	mu      sync.Mutex
	reasons map[string]*reason // the reasons are constants, so there are few
}

// reason counts the lines of a period.
type reason struct {
	until   time.Time // the end of the period
	written int
	omitted int // since the last line
}

const logPeriod = time.Minute

func newLimitedLog(logger *slog.Logger) *limitedLog {
	return &limitedLog{logger: logger, reasons: map[string]*reason{}}
}

// log writes a line, unless the period has had its share of lines about this reason. If the log handler panics, the
// line is lost, and not the push or the process.
func (l *limitedLog) log(ctx context.Context, level slog.Level, share int, text string, attrs ...slog.Attr) {
	omitted, ok := l.take(text, share, time.Now())
	if !ok {
		return
	}
	if omitted > 0 {
		attrs = append(attrs, slog.Int("omitted", omitted))
	}
	defer func() { _ = recover() }()
	l.logger.LogAttrs(ctx, level, text, attrs...) // a log handler may wait
}

// take reports whether a line may be written, and how many were omitted before it.
func (l *limitedLog) take(text string, share int, now time.Time) (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reasons[text]
	if r == nil {
		r = &reason{}
		l.reasons[text] = r
	}
	if !now.Before(r.until) {
		r.until, r.written = now.Add(logPeriod), 0
	}
	if r.written >= share {
		r.omitted++
		return 0, false
	}
	r.written++
	omitted, r.omitted = r.omitted, 0
	return omitted, true
}
