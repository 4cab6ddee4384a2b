package project

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxExampleLines is what a file of an example is shorter than: a reader takes it in at once.
const maxExampleLines = 150

// An example is short, and says at its top what it shows and how to run or use it.
func TestExamplesAreShort(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(moduleRoot, "examples", "*"))
	require.NoError(t, err)
	measured := 0
	for _, dir := range dirs {
		if filepath.Ext(dir) != "" {
			continue
		}
		var doc string
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			text, err := os.ReadFile(path)
			measured++
			assert.Less(t, bytes.Count(text, []byte("\n")), maxExampleLines, path)
			file, parseErr := parser.ParseFile(token.NewFileSet(), path, text, parser.PackageClauseOnly|parser.ParseComments)
			require.NoError(t, parseErr)
			if filepath.Dir(path) == dir && file.Doc != nil {
				doc += file.Doc.Text()
			}
			return err
		}))
		assert.Contains(t, doc, "\n\n\t", "%s has a comment with its command, or with code to start from", dir)
	}
	assert.Greater(t, measured, 40)
}
