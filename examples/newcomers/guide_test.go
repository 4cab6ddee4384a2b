package newcomers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGuide: docs/testing.md quotes each file of this folder, but for this one.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "testing.md"))
	require.NoError(t, err)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	assert.Len(t, files, 8)
	for _, name := range files {
		code, err := os.ReadFile(name)
		require.NoError(t, err)
		if name != "guide_test.go" {
			quote := "`" + name + "`\n\n```go\n" + string(code) + "```\n"
			assert.True(t, strings.Contains(string(guide), quote), "the guide has another %s", name)
		}
	}
}
