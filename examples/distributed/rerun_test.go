package main

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
