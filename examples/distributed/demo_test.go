package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a Redis server")
	}
	t.Parallel()
	var out bytes.Buffer
	args := []string{"-fans", "30000", "-workers", "2", "-bad", "0.01"}
	require.NoError(t, run(t.Context(), args, &out, os.Stderr), "%s", &out)
	assert.Contains(t, out.String(), "killed one worker")
	assert.Contains(t, out.String(), "Its tasks return to the queue")
	assert.Contains(t, out.String(), "100 with errcode 40003")
	assert.Contains(t, out.String(),
		"29700 followers tagged, 0 openids neither tagged nor reported, 0 wrong; token requests: 1")
}

// The final check of the demo detects errors.
func TestDemoCheck(t *testing.T) {
	t.Parallel()
	l := demoList{n: 200, bad: 0.1}
	c, j := newCluster(t, l.n)
	file := filepath.Join(t.TempDir(), "openids.txt")
	require.NoError(t, l.write(file, c.Server))
	produceAll(t, c, j, 100, file)
	stop := startWorker(t, c, 1, time.Second, io.Discard)
	eventually(t, "all chunks are done", func() bool { return summaryOf(t, j).complete() })
	stop()
	d := &demoRun{cluster: c, job: j, out: io.Discard}
	require.NoError(t, l.check(t.Context(), d))

	tagID, openID, results := c.Tags()[0].ID, c.OpenIDs()[0], resultsOf(t, j)
	require.NoError(t, j.account.BatchUntagging(t.Context(), tagID, []string{openID}))
	assert.Error(t, l.check(t.Context(), d), "an openid lost the tag")
	require.NoError(t, j.account.BatchTagging(t.Context(), tagID, []string{openID}))
	require.NoError(t, l.check(t.Context(), d))

	for id, r := range results {
		require.NotEmpty(t, r.Rejected)
		r.Rejected[0].Code = wechatuser.CodeSystemBusy
		require.NoError(t, j.record(t.Context(), id, r))
		assert.Error(t, l.check(t.Context(), d), "an openid has the wrong errcode")
		r.Rejected = r.Rejected[1:]
		require.NoError(t, j.record(t.Context(), id, r))
		assert.Error(t, l.check(t.Context(), d), "an openid is not reported")
	}
}
