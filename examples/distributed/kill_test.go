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

// TestWorkersThatDie kills a worker in the middle of its tasks and ends another one, and then the account is as if
// nothing had happened. It takes a minute, since the queue waits so long until it believes that a worker is dead.
func TestWorkersThatDie(t *testing.T) {
	t.Parallel()
	l := list{n: 20_000, bad: 0.01}
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
	killed, ended, lives := start("worker"), start("worker"), start("worker")
	eventually(t, "the work has begun", func() bool { return summaryOf(t, j).done > l.n/10 })
	c.Delay(tagging, 3*time.Second) // now all of them stick in the middle of a task
	eventually(t, "all are at work", func() bool { return summaryOf(t, j).tasks.Active == 6 })

	token := c.AccessToken()
	assert.Empty(t, holders(t, j.rdb, secret))
	assert.Equal(t, []string{"wechatuser:token:stable:" + c.AppID}, holders(t, j.rdb, token))
	assert.NotEmpty(t, holders(t, j.rdb, `"tagid"`), "the tasks are among what was looked at")

	require.NoError(t, killed.Process.Kill())
	require.NoError(t, ended.Process.Signal(syscall.SIGTERM))
	c.Delay(tagging, 0)
	assert.Error(t, killed.Wait())
	assert.NoError(t, ended.Wait(), "it had finished its tasks, or given them back")
	instead := start("worker")
	eventually(t, "all chunks have their result", func() bool { return summaryOf(t, j).complete() })
	for _, cmd := range []*exec.Cmd{lives, instead} {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		assert.NoError(t, cmd.Wait())
	}

	var tagged []string
	refused := make(map[string]wechatuser.Code)
	for i := range l.n {
		if id, code := l.at(i); code == 0 {
			tagged = append(tagged, id)
		} else {
			refused[id] = code
		}
	}
	require.Len(t, c.Tags(), 1)
	assert.ElementsMatch(t, tagged, c.TagFans(c.Tags()[0].ID))
	named := make(map[string]wechatuser.Code)
	for _, r := range resultsOf(t, j) {
		for _, one := range r.Refused {
			assert.NotContains(t, named, one.OpenID, "named twice")
			named[one.OpenID] = one.Code
		}
	}
	assert.Equal(t, refused, named)

	s := summaryOf(t, j)
	assert.Equal(t, l.n, s.openIDs)
	assert.Equal(t, l.n, s.done)
	assert.Positive(t, s.repeated, "the tasks of the killed worker")
	assert.Zero(t, s.tasks.Size, "nothing is left in the queue")
	assert.Equal(t, 1, c.Calls("/cgi-bin/stable_token"))
	assert.Empty(t, holders(t, j.rdb, secret))
	assert.Equal(t, []string{"wechatuser:token:stable:" + c.AppID}, holders(t, j.rdb, token))
	assertNeverWritten(t, c.dir, secret)
}

// assertNeverWritten looks at all that Redis was ever told to write, which is on its disk as it came.
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
