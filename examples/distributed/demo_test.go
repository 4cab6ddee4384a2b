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
	require.NoError(t, run(t.Context(), []string{"-fans", "30000", "-workers", "2", "-bad", "0.01"}, &out, os.Stderr), "%s", &out)
	assert.Contains(t, out.String(), "killed one worker")
	assert.Contains(t, out.String(), "its tasks come back after 60 s")
	assert.Contains(t, out.String(), "100 with errcode 40003")
	assert.Contains(t, out.String(), "29700 followers have the tag, 0 openids are neither tagged nor named, 0 wrong; 1 token requests")
}

// What the demo checks at its end can fail.
func TestDemoSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	l := list{n: 200, bad: 0.1}
	c, j := newCluster(t, l.n)
	file := filepath.Join(t.TempDir(), "openids.txt")
	require.NoError(t, l.write(file, c.Server))
	produceAll(t, c, j, 100, file)
	stop := startWorker(t, c, 1, time.Second, io.Discard)
	eventually(t, "all chunks have their result", func() bool { return summaryOf(t, j).complete() })
	stop()
	d := &show{cluster: c, job: j, out: io.Discard}
	require.NoError(t, l.check(t.Context(), d))

	tagID, good, bad := c.Tags()[0].ID, c.OpenIDs()[0], resultsOf(t, j)
	require.NoError(t, j.account.BatchUntagging(t.Context(), tagID, []string{good}))
	assert.Error(t, l.check(t.Context(), d), "one lost the tag")
	require.NoError(t, j.account.BatchTagging(t.Context(), tagID, []string{good}))
	require.NoError(t, l.check(t.Context(), d))

	for id, r := range bad {
		require.NotEmpty(t, r.Refused)
		r.Refused[0].Code = wechatuser.CodeSystemBusy
		require.NoError(t, j.record(t.Context(), id, r))
		assert.Error(t, l.check(t.Context(), d), "one has a wrong errcode")
		r.Refused = r.Refused[1:]
		require.NoError(t, j.record(t.Context(), id, r))
		assert.Error(t, l.check(t.Context(), d), "one is not named")
	}
}
