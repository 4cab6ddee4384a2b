package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func resultsOf(t *testing.T, j *job) map[string]result {
	t.Helper()
	all := make(map[string]result)
	for id, text := range j.rdb.HGetAll(t.Context(), j.key("chunks")).Val() {
		var r result
		require.NoError(t, json.Unmarshal([]byte(text), &r))
		all[id] = r
	}
	return all
}

// finish waits until the job is complete, and checks the account.
func finish(t *testing.T, c *cluster, j *job, fans int) {
	t.Helper()
	eventually(t, "all chunks are done", func() bool { return summaryOf(t, j).complete() })
	assert.Len(t, c.TagFans(c.Tags()[0].ID), fans)
	assert.Equal(t, 1, c.Calls("/cgi-bin/stable_token"))
	assert.NoError(t, report(t.Context(), j, false, new(bytes.Buffer)))
}

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

// A revoked token costs one token request by one of the workers; no task fails.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 2000)
	produceAll(t, c, j, 100, "")
	c.Delay(tagging, 50*time.Millisecond)
	defer startWorker(t, c, 2, time.Second, io.Discard)()
	defer startWorker(t, c, 2, time.Second, io.Discard)()
	eventually(t, "tasks are being processed", func() bool { return summaryOf(t, j).done > 0 })
	require.False(t, summaryOf(t, j).complete())
	c.ExpireTokens()
	eventually(t, "all chunks are done", func() bool { return summaryOf(t, j).complete() })
	assert.Len(t, c.TagFans(c.Tags()[0].ID), 2000)
	assert.Equal(t, 2, c.Calls("/cgi-bin/stable_token"))
	assert.Zero(t, summaryOf(t, j).retried)
}

// The rate limit applies to all workers together.
func TestRateLimitIsShared(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 1000)
	produceAll(t, c, j, 250, "")
	c.limit = 1200 // one call per 50 ms
	start := time.Now()
	defer startWorker(t, c, 1, time.Second, io.Discard)()
	defer startWorker(t, c, 1, time.Second, io.Discard)()
	finish(t, c, j, 1000)
	assert.Equal(t, 20, c.Calls(tagging))
	assert.GreaterOrEqual(t, time.Since(start), 19*50*time.Millisecond)
}

// A task that takes longer than the grace period returns to the queue without using up a retry.
func TestUnfinishedTasksReturnToQueue(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 400)
	produceAll(t, c, j, 200, "")
	c.Delay(tagging, time.Hour)
	stop := startWorker(t, c, 1, time.Millisecond, io.Discard)
	eventually(t, "calls are in flight", func() bool { return c.Calls(tagging) > 0 })
	stop()
	s := summaryOf(t, j)
	assert.Equal(t, 2, s.tasks.Pending)
	assert.Zero(t, s.tasks.Active)

	c.Delay(tagging, 0)
	defer startWorker(t, c, 1, time.Second, io.Discard)()
	finish(t, c, j, 400)
	assert.Zero(t, summaryOf(t, j).retried)
}

// A task that is done twice is counted once.
func TestTaskIsDoneTwice(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 100)
	tagID := c.AddTag(demoTag)
	same := chunk{TagID: tagID, OpenIDs: []string{wechatusertest.OpenID(0), wechatusertest.ForeignOpenID(0), "not one"}}
	data, err := json.Marshal(same)
	require.NoError(t, err)
	task := asynq.NewTask(taskType, []byte(same.id()))
	for range 2 { // at the same time, so that both have the openids
		require.NoError(t, j.rdb.HSet(t.Context(), j.key("openids"), same.id(), data).Err())
		require.NoError(t, j.tag(t.Context(), task))
	}
	calls := c.Calls("*")
	require.NoError(t, j.tag(t.Context(), task), "it is done")
	assert.Equal(t, calls, c.Calls("*"))
	s := summaryOf(t, j)
	assert.Equal(t, 3, s.done)
	assert.Len(t, s.rejected, 2)
	assert.Equal(t, c.OpenIDs()[:1], c.TagFans(tagID))

	var out bytes.Buffer
	assert.Error(t, report(t.Context(), j, true, &out), "not all tasks are created")
	assert.Contains(t, out.String(), wechatusertest.ForeignOpenID(0)+"\t49003\t")
	assert.Contains(t, out.String(), "not one\t0\t")
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

// Tasks that Redis has evicted, or that somebody has deleted, are recreated.
func TestRerunMakesLostTasksAgain(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, j *job){
		"the data of a task": func(t *testing.T, j *job) {
			keys := j.rdb.Keys(t.Context(), "asynq:{"+j.queue+"}:t:*").Val()
			require.Len(t, keys, 10)
			require.NoError(t, j.rdb.Del(t.Context(), keys[:3]...).Err())
		},
		"the data of a task that was started": func(t *testing.T, j *job) {
			pending := j.rdb.LRange(t.Context(), "asynq:{"+j.queue+"}:pending", 0, -1).Val()
			require.NoError(t, j.rdb.Del(t.Context(), "asynq:{"+j.queue+"}:t:"+pending[9]).Err())
			c := j.rdb
			require.NoError(t, c.LMove(t.Context(), "asynq:{"+j.queue+"}:pending", "asynq:{"+j.queue+"}:active",
				"right", "left").Err())
			require.NoError(t, c.HSet(t.Context(), "asynq:{"+j.queue+"}:t:"+pending[9], "state", "active").Err())
		},
		"a task, by an operator": func(t *testing.T, j *job) {
			tasks, err := j.inspect.ListPendingTasks(j.queue)
			require.NoError(t, err)
			require.NoError(t, j.inspect.DeleteTask(j.queue, tasks[4].ID))
		},
		"the whole queue": func(t *testing.T, j *job) {
			keys := append(j.rdb.Keys(t.Context(), "asynq:{"+j.queue+"}:*").Val(), "asynq:queues")
			require.NoError(t, j.rdb.Del(t.Context(), keys...).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, j := newCluster(t, 1000)
			produceAll(t, c, j, 100, "")
			lose(t, j)
			var out bytes.Buffer
			require.NoError(t, j.rerun(t.Context(), &out))
			assert.Contains(t, out.String(), "lost tasks were recreated")
			out.Reset()
			require.NoError(t, j.rerun(t.Context(), &out))
			assert.Empty(t, out.String(), "nothing is lost now")
			defer startWorker(t, c, 1, time.Second, io.Discard)()
			finish(t, c, j, 1000)
			s := summaryOf(t, j)
			assert.Equal(t, 1000, s.done)
			eventually(t, "the queue is empty", func() bool {
				s := summaryOf(t, j)
				return s.tasks.Size == 0 && s.tasks.Active == 0
			})
			assert.Zero(t, j.rdb.Exists(t.Context(), j.key("openids")).Val(), "no openid is kept")
		})
	}
}

// Without its openids a chunk can't be done. The producer makes it again.
func TestProducerMakesLostChunksAgain(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 1000)
	produceAll(t, c, j, 100, "")
	ids := j.rdb.HKeys(t.Context(), j.key("openids")).Val()
	require.NoError(t, j.rdb.HDel(t.Context(), j.key("openids"), ids[:4]...).Err())
	stop := startWorker(t, c, 1, time.Second, io.Discard)
	eventually(t, "all others are done", func() bool {
		s := summaryOf(t, j)
		return s.open == 4 && s.tasks.Archived == 4
	})
	s := summaryOf(t, j)
	assert.Contains(t, s.archived[0].LastErr, "run the producer again")
	require.NoError(t, j.rerun(t.Context(), io.Discard))
	produceAll(t, c, j, 100, "")
	require.NoError(t, j.rerun(t.Context(), io.Discard))
	defer func() { stop() }()
	finish(t, c, j, 1000)
}
