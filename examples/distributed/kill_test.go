package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// One worker is killed in the middle of its tasks and another one is stopped. The result is the same as without. It
// takes a minute, until the lease of the killed worker expires.
func TestWorkersDie(t *testing.T) {
	t.Parallel()
	l := demoList{n: 20_000, bad: 0.01}
	c, j := newCluster(t, l.n)
	file := filepath.Join(t.TempDir(), "openids.txt")
	require.NoError(t, l.write(file, c.Server))
	start := func(role string, flags ...string) *exec.Cmd {
		cmd, err := c.start(t.Context(), role, flags...)
		require.NoError(t, err)
		return cmd
	}
	require.NoError(t, start("producer", "-tag", demoTag, "-file", file, "-chunk", "200").Wait())
	require.Equal(t, 100, summaryOf(t, j).chunks)

	c.Delay(tagging, 20*time.Millisecond)
	killed, stopped, alive := start("worker"), start("worker"), start("worker")
	eventually(t, "tasks are being processed", func() bool { return summaryOf(t, j).done > l.n/10 })
	c.Delay(tagging, 3*time.Second) // now all workers are in the middle of a task
	eventually(t, "all workers are busy", func() bool { return summaryOf(t, j).tasks.Active == 6 })

	token := c.AccessToken()
	assert.Empty(t, keysContaining(t, j.rdb, secret))
	assert.Equal(t, []string{"wechatuser:token:stable:" + c.AppID}, keysContaining(t, j.rdb, token))
	assert.NotEmpty(t, keysContaining(t, j.rdb, `"tagid"`), "tasks are searched too")

	require.NoError(t, killed.Process.Kill())
	require.NoError(t, stopped.Process.Signal(syscall.SIGTERM))
	c.Delay(tagging, 0)
	assert.Error(t, killed.Wait())
	assert.NoError(t, stopped.Wait(), "it completed its tasks or returned them")
	replacement := start("worker")
	eventually(t, "all chunks are done", func() bool { return summaryOf(t, j).complete() })
	for _, cmd := range []*exec.Cmd{alive, replacement} {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		assert.NoError(t, cmd.Wait())
	}

	var tagged []string
	rejected := make(map[string]wechatuser.Code)
	for i := range l.n {
		if id, code := l.at(i); code == 0 {
			tagged = append(tagged, id)
		} else {
			rejected[id] = code
		}
	}
	require.Len(t, c.Tags(), 1)
	assert.ElementsMatch(t, tagged, c.TagFans(c.Tags()[0].ID))
	reported := make(map[string]wechatuser.Code)
	for _, r := range resultsOf(t, j) {
		for _, one := range r.Rejected {
			assert.NotContains(t, reported, one.OpenID, "reported twice")
			reported[one.OpenID] = one.Code
		}
	}
	assert.Equal(t, rejected, reported)

	s := summaryOf(t, j)
	assert.Equal(t, l.n, s.openIDs)
	assert.Equal(t, l.n, s.done)
	assert.Positive(t, s.retried, "the tasks of the killed worker")
	assert.Zero(t, s.tasks.Size, "the queue is empty")
	assert.Equal(t, 1, c.Calls("/cgi-bin/stable_token"))
	assert.Empty(t, keysContaining(t, j.rdb, secret))
	assert.Equal(t, []string{"wechatuser:token:stable:" + c.AppID}, keysContaining(t, j.rdb, token))
	assertNeverWritten(t, c.dir, secret)
}

// assertNeverWritten asserts that no command to Redis has contained a text. The append-only file has all commands.
func assertNeverWritten(t *testing.T, dir, text string) {
	t.Helper()
	var all []byte
	require.NoError(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if filepath.Ext(name) == ".aof" {
			content, err := os.ReadFile(name)
			all = append(all, content...)
			return err
		}
		return err
	}))
	assert.True(t, bytes.Contains(all, []byte("wechatuser:token:stable:")))
	assert.False(t, bytes.Contains(all, []byte(text)))
}
