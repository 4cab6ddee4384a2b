package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// enqueued returns the openids of all tasks, in the order of the queue.
func enqueued(t *testing.T, j *job) (openIDs []string) {
	t.Helper()
	tasks, err := j.inspect.ListPendingTasks(j.queue, asynq.PageSize(1000))
	require.NoError(t, err)
	for _, task := range tasks {
		var c chunk
		require.NoError(t,
			json.Unmarshal([]byte(j.rdb.HGet(t.Context(), j.key("openids"), string(task.Payload)).Val()), &c))
		openIDs = append(openIDs, c.OpenIDs...)
	}
	return openIDs
}

// A producer that dies is resumed, even if it had enqueued a task and not recorded it.
func TestProducerResumes(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 1000)
	p := &producer{job: j}
	tag, err := j.account.EnsureTag(t.Context(), demoTag)
	require.NoError(t, err)
	tagID := tag.ID
	died := errors.New("died")
	err = p.enqueueAll(t.Context(), tagID, 70, func(yield func(string, error) bool) {
		n := 0
		for id, err := range j.account.AllFans(t.Context()) {
			if n++; n > 500 {
				yield("", died)
				return
			}
			if !yield(id, err) {
				return
			}
		}
	})
	require.ErrorIs(t, err, died)
	assert.Equal(t, c.OpenIDs()[:490], enqueued(t, j))
	assert.Error(t, report(t.Context(), j, false, io.Discard))
	cur, err := j.cursor(t.Context())
	require.NoError(t, err)
	assert.Equal(t, cursor{after: c.OpenIDs()[489], openIDs: 490}, cur)

	// The same, but it died before it recorded the last chunk.
	last := chunk{TagID: tagID, OpenIDs: c.OpenIDs()[420:490]}
	require.NoError(t, j.rdb.HDel(t.Context(), j.key("chunks"), last.id()).Err())
	require.NoError(t, j.rdb.HSet(t.Context(), j.key("place"), "after", c.OpenIDs()[419], "openids", 420).Err())

	for range 2 { // the second run has nothing to do
		produceAll(t, c, j, 70, "")
		assert.Equal(t, c.OpenIDs(), enqueued(t, j))
		s := summaryOf(t, j)
		assert.True(t, s.produced)
		assert.Equal(t, 15, s.chunks)
		assert.Equal(t, 1000, s.openIDs)
	}
	assert.Len(t, c.Tags(), 1)
}

// Chunks that are done are not enqueued again.
func TestProducerSkipsDoneChunks(t *testing.T) {
	t.Parallel()
	c, j := newCluster(t, 100)
	file := filepath.Join(t.TempDir(), "openids.txt")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(c.OpenIDs(), "\n")), 0o600))
	tagID := c.AddTag(demoTag)
	for done := range slices.Chunk(c.OpenIDs()[:50], 25) {
		require.NoError(t, j.record(t.Context(), chunk{tagID, done}.id(), result{OpenIDs: 25, Runs: 1}))
	}
	produceAll(t, c, j, 25, file)
	assert.Equal(t, c.OpenIDs()[50:], enqueued(t, j))
	s := summaryOf(t, j)
	assert.Equal(t, 100, s.openIDs)
	assert.Equal(t, 50, s.done)
}
