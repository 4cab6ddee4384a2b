package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// When the daily quota is exhausted, all tasks wait for the next day, without using up retries and without one call
// each.
func TestDailyQuota(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 1000)
	produceAll(t, c, j, 100, "")
	c.FailNext(tagging, wechatuser.CodeDailyQuotaExceeded, 1000)
	defer startWorker(t, c, 1, time.Second, io.Discard)()
	eventually(t, "all tasks are waiting", func() bool { return summaryOf(t, j).tasks.Retry == 10 })

	assert.LessOrEqual(t, c.Calls(tagging), 2, "the calls of one task")
	waiting, err := j.inspect.ListRetryTasks(j.queue)
	require.NoError(t, err)
	for _, task := range waiting {
		assert.Zero(t, task.Retried)
		next := tomorrow(time.Now())
		assert.WithinRange(t, task.NextProcessAt, next.Add(-time.Second), next.Add(time.Minute))
		assert.Contains(t, task.LastErr, "the daily quota is exhausted")
	}

	c.FailNext(tagging, wechatuser.CodeDailyQuotaExceeded, 0)
	require.NoError(t, j.rerun(t.Context(), io.Discard))
	finish(t, c, j, 1000)
}

// A cause that an operator must fix pauses the queue: one task is archived with the reason, the others stay queued.
func TestFatalErrorPausesQueue(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 1000)
	produceAll(t, c, j, 100, "")
	c.FailNext(tagging, wechatuser.CodeAPIUnauthorized, 1000)
	defer startWorker(t, c, 1, time.Second, io.Discard)()
	eventually(t, "the queue is paused", func() bool {
		s := summaryOf(t, j)
		return s.paused != "" && s.tasks.Active == 0
	})

	var out bytes.Buffer
	assert.ErrorContains(t, report(t.Context(), j, false, &out), "not complete: 10 of 10 chunks open")
	assert.Contains(t, out.String(), "9 pending, 0 active, 0 waiting for a retry, 1 archived")
	assert.Regexp(t, `paused .*48001`, out.String())
	assert.Regexp(t, `archived .*48001`, out.String())

	c.FailNext(tagging, wechatuser.CodeAPIUnauthorized, 0)
	require.NoError(t, j.rerun(t.Context(), io.Discard))
	finish(t, c, j, 1000)
}

// The queue retries a temporary error after the SDK has given up.
func TestTemporaryErrorIsRetried(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 100)
	produceAll(t, c, j, 50, "")
	c.FailNextHTTP(tagging, 502, "<html>", 3)
	defer startWorker(t, c, 1, time.Second, io.Discard)()
	finish(t, c, j, 100)
	assert.Equal(t, 1, summaryOf(t, j).retried)
}

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	temporary := errors.New("temporary")
	for failures, longest := range map[int]time.Duration{0: time.Second, 3: 8 * time.Second, 25: 512 * time.Second} {
		for range 100 {
			d := retryDelay(failures, temporary, nil)
			assert.GreaterOrEqual(t, d, longest/2)
			assert.Less(t, d, longest)
		}
	}
	assert.Zero(t, retryDelay(3, asynq.ErrLeaseExpired, nil))
	quota := fmt.Errorf("a task: %w", &quotaError{time.Now().Add(time.Hour)})
	assert.Greater(t, retryDelay(3, quota, nil), 59*time.Minute)
	assert.False(t, isFailure(quota))
	assert.True(t, isFailure(asynq.ErrLeaseExpired))
	assert.True(t, isFailure(temporary))
}

func TestTomorrow(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 1, 0, 5, 0, 0, beijing)
	for _, now := range []time.Time{
		time.Date(2026, 2, 28, 0, 0, 0, 0, beijing),
		time.Date(2026, 2, 28, 23, 59, 59, 0, beijing),
		time.Date(2026, 2, 28, 3, 0, 0, 0, time.UTC),
	} {
		assert.True(t, want.Equal(tomorrow(now)), "%v", now)
	}
}

func TestFatalErrors(t *testing.T) {
	t.Parallel()
	for code, fatal := range map[wechatuser.Code]bool{
		wechatuser.CodeInvalidSecret:       true,
		wechatuser.CodeAPIUnauthorized:     true,
		wechatuser.CodeInvalidTagID:        true,
		wechatuser.CodeSystemBusy:          false,
		wechatuser.CodeMinuteQuotaExceeded: false,
		wechatuser.CodeInvalidCredential:   false, // the token, which is refreshed
	} {
		assert.Equal(t, fatal, isFatal(code), "%d", code)
	}
}
