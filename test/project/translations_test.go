package project

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const chineseSuffix = ".zh-CN.md"

// A document and its Chinese translation have the same headings by level, the same tables by rows and columns, the same
// code except for comments, and link to each other.
func TestTranslationsAreInStep(t *testing.T) {
	t.Parallel()
	var translated []string
	for _, name := range documents(t) {
		english, isChinese := strings.CutSuffix(name, chineseSuffix)
		if !isChinese {
			continue
		}
		translated = append(translated, english)
		a, b := outlineOf(t, english+".md"), outlineOf(t, name)
		assert.Equal(t, a.headings, b.headings, "headings of %s", name)
		assert.Equal(t, a.tables, b.tables, "rows and columns of the tables of %s", name)
		if filepath.Base(english) != "cli" { // there, code is what the commands say in either language
			assert.Equal(t, a.code, b.code, "code of %s", name)
		}
		assert.Contains(t, a.text, "[中文]("+filepath.Base(name)+")", "%s.md", english)
		assert.Contains(t, b.text, "[English]("+filepath.Base(english)+".md)", name)
	}
	assert.Contains(t, translated, filepath.Join(moduleRoot, "README"))
}

// A README is read in a minute.
func TestREADMEsAreShort(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"README.md", "README" + chineseSuffix} {
		text, err := os.ReadFile(filepath.Join(moduleRoot, name))
		require.NoError(t, err)
		assert.Less(t, strings.Count(string(text), "\n"), 150, "lines of %s", name)
	}
}

// outline is what a document and its translation have in common.
type outline struct {
	headings []int // their levels
	tables   []int // the number of cells of each row
	code     []string
	text     string // without the code
}

func outlineOf(t *testing.T, name string) (o outline) {
	t.Helper()
	comment := regexp.MustCompile(`\s*(//|# |-- ).*`)
	cells := regexp.MustCompile(`[^\\]\|`) // an escaped bar does not end a cell
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 1 {
			o.code = append(o.code, comment.ReplaceAllString(part, ""))
			continue
		}
		o.text += part
		for line := range strings.Lines(part) {
			if level := len(line) - len(strings.TrimLeft(line, "#")); level > 0 {
				o.headings = append(o.headings, level)
			}
			if strings.HasPrefix(line, "|") {
				o.tables = append(o.tables, len(cells.FindAllString(line, -1)))
			}
		}
	}
	return o
}
