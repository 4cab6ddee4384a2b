package wechatuserpush

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// limitedLog limits the number of lines for each reason, so that nobody can fill the log by sending requests.
type limitedLog struct {
	logger *slog.Logger

	mu      sync.Mutex
	reasons map[string]*reason // by text; all texts are constants, so there are few
}

// reason counts the lines about one reason in a period.
type reason struct {
	until   time.Time // the end of the period
	written int
	omitted int // since the last line
}

const logPeriod = time.Minute

func newLimitedLog(logger *slog.Logger) *limitedLog {
	return &limitedLog{logger: logger, reasons: map[string]*reason{}}
}

// log writes a line, unless the period has already had limit lines with this text. If the log handler panics, only the
// line is lost.
func (l *limitedLog) log(ctx context.Context, level slog.Level, limit int, text string, attrs ...slog.Attr) {
	omitted, ok := l.take(text, limit, time.Now())
	if !ok {
		return
	}
	if omitted > 0 {
		attrs = append(attrs, slog.Int("omitted", omitted))
	}
	defer func() { _ = recover() }()
	l.logger.LogAttrs(ctx, level, text, attrs...) // without the lock, since a log handler may block
}

// take reports whether a line may be written, and how many lines were omitted since the last one.
func (l *limitedLog) take(text string, limit int, now time.Time) (omitted int, ok bool) {
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
	if r.written >= limit {
		r.omitted++
		return 0, false
	}
	r.written++
	omitted, r.omitted = r.omitted, 0
	return omitted, true
}
