package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A bar appears after two seconds, by itself, with the rate and the time that is left.
func TestProgressBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, out := testApp(t, nil), new(bytes.Buffer)
		a.err, a.isTerminal = out, func(stream any) bool { return stream == out }
		p := a.newProgress("Followers", 40)
		p.set(5)
		time.Sleep(barDelay - time.Nanosecond)
		synctest.Wait()
		assert.Empty(t, out.String(), "not at once")

		p.set(10)
		time.Sleep(2 * barInterval)
		synctest.Wait()
		assert.Regexp(t, `Followers +25% \|.*\(10/40, \d+ it/\w+\) \[2s:\d+s\]`, out.String())
		p.finish()
		p.finish()
		assert.True(t, strings.HasSuffix(out.String(), "\n"))

		shown := out.Len()
		p = a.newWait("Comparing", new(atomic.Int64))
		time.Sleep(barDelay + time.Second)
		p.finish()
		assert.Contains(t, out.String()[shown:], "Comparing", "although nothing has happened yet")

		shown = out.Len()
		p = a.newProgress("Followers", 3)
		p.set(3)
		p.finish()
		a.newProgress("Followers", 0).finish()
		assert.Equal(t, shown, out.Len(), "it was done at once")
		a.isTerminal = func(any) bool { return true }
		assert.Nil(t, a.listProgress("Openids", 3).stop, "lines on the same terminal")
	})
}

func TestNoProgressBarWithoutTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer file.Close()
	assert.False(t, isTerminal(new(bytes.Buffer)))
	assert.False(t, isTerminal(file))
}

// Columns are aligned for the eye: a Chinese character takes two columns.
func TestTable(t *testing.T) {
	a := testApp(t, nil)
	table := a.table("ID", "名称", "用户数")
	table.row("2", "星标组", "0")
	table.row("100", "vip", "10")
	table.row("101", "a long cell at the end of a row")
	table.row("102", "x", "")
	require.NoError(t, table.flush())
	assert.Equal(t, `ID   名称    用户数
2    星标组  0
100  vip     10
101  a long cell at the end of a row
102  x
`, a.out.(*bytes.Buffer).String())
}
