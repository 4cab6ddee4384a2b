package main

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logBuffer is a buffer that is safe for concurrent use.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(text))
}

// Redis is killed while tasks are in progress, and restarted with its data. The workers continue.
func TestRedisIsKilled(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 400)
	produceAll(t, c, j, 50, "")
	c.Delay(tagging, time.Second)
	log := new(logBuffer)
	defer startWorker(t, c, 2, time.Second, log)()
	eventually(t, "all workers are busy", func() bool { return summaryOf(t, j).tasks.Active == 2 })
	c.close()
	eventually(t, "a result is lost", func() bool { return log.contains("task failed") })
	c.Delay(tagging, 0)
	require.NoError(t, c.startRedis(t.Context()))
	finish(t, c, j, 400)
	assert.Positive(t, summaryOf(t, j).retried)
}
