package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, text: "Followers", total: 40, start: time.Now()}

	p.set(5)
	assert.Empty(t, out.String(), "not at once")
	p.start = p.start.Add(-barDelay)
	p.set(10)
	p.finish()

	assert.Regexp(t, `Followers +25% \|.*\(10/40, \d+ it/\w+\)`, out.String())
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
