package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	barDelay    = 2 * time.Second // after which a progress bar is shown
	barInterval = 100 * time.Millisecond
)

// progress is a progress bar on a terminal. It is shown only if the work takes long enough. It is animated, so that the
// user sees that the tool works while a call hangs.
type progress struct {
	done  *atomic.Int64
	stop  chan struct{} // nil without a bar
	ended sync.WaitGroup
}

// newProgress returns a progress bar for a total, which is -1 if unknown. It shows nothing if stderr is not a
// terminal.
func (a *app) newProgress(text string, total int) *progress {
	return a.startProgress(new(atomic.Int64), total, progressbar.OptionSetDescription(text),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(total > 0))
}

// newWait returns a progress bar for work of which only the number of API calls is known.
func (a *app) newWait(text string, calls *atomic.Int64) *progress {
	return a.startProgress(calls, -1, progressbar.OptionSetDescription(text), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString(a.tr("calls", "次")))
}

// listProgress is like newProgress, for a list on stdout. It shows nothing if stdout is a terminal, where a bar would
// appear between the lines.
func (a *app) listProgress(text string, total int) *progress {
	if a.isTerminal(a.out) {
		return &progress{done: new(atomic.Int64)}
	}
	return a.newProgress(text, total)
}

func (a *app) startProgress(done *atomic.Int64, total int, opts ...progressbar.Option) *progress {
	p := &progress{done: done}
	if !a.isTerminal(a.err) || total == 0 {
		return p
	}
	p.stop = make(chan struct{})
	w := &latecomer{w: a.err, from: time.Now().Add(barDelay)}
	bar := progressbar.NewOptions(total, append(opts, progressbar.OptionSetWriter(w),
		progressbar.OptionSetSpinnerChangeInterval(0))...) // it would start a goroutine that finish cannot end
	stop := p.stop
	p.ended.Go(func() {
		ticker := time.NewTicker(barInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = bar.Set64(done.Load()) // an error means that there is more to do than was thought
			case <-stop:
				if w.began {
					_ = bar.Set64(done.Load())
					_ = bar.Exit()
					fmt.Fprintln(a.err)
				}
				return
			}
		}
	})
	return p
}

func (p *progress) set(done int) { p.done.Store(int64(done)) }

func (p *progress) finish() {
	if p.stop != nil {
		close(p.stop)
		p.ended.Wait()
		p.stop = nil // finish may be called again
	}
}

// latecomer is a writer that drops everything that is written before a time.
type latecomer struct {
	w     io.Writer
	from  time.Time
	began bool
}

func (l *latecomer) Write(b []byte) (int, error) {
	if time.Now().Before(l.from) {
		return len(b), nil
	}
	l.began = true
	return l.w.Write(b)
}
