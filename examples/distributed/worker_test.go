package main

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
