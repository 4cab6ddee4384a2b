package newcomers_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "copy the files of this folder into docs/testing.md")

// docs/testing.md quotes each file of this folder except this one. With -update the test replaces the quotes.
func TestGuideQuotesFiles(t *testing.T) {
	guide := filepath.Join("..", "..", "docs", "testing.md")
	content, err := os.ReadFile(guide)
	require.NoError(t, err)
	text := string(content)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	assert.Len(t, files, 9)
	for _, name := range files {
		if name == "guide_test.go" {
			continue
		}
		code, err := os.ReadFile(name)
		require.NoError(t, err)
		want := "`" + name + "`\n\n```go\n" + string(code) + "```\n"
		quote := regexp.MustCompile("(?s)`" + regexp.QuoteMeta(name) + "`\n\n```go\n.*?\n```\n").FindString(text)
		require.NotEmpty(t, quote, "docs/testing.md does not quote %s", name)
		if *update {
			text = strings.Replace(text, quote, want, 1)
			continue
		}
		assert.True(t, quote == want, "docs/testing.md quotes another %s: run go test . -update here", name)
	}
	if *update {
		require.NoError(t, os.WriteFile(guide, []byte(text), 0o644))
	}
}
