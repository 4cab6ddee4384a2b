package project

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// moduleFiles returns the go.mod of each module, by its folder as seen from the root.
func moduleFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(moduleRoot, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == ".git":
			if entry.IsDir() {
				return filepath.SkipDir
			}
		case entry.Name() == "go.mod":
			dir, err := filepath.Rel(moduleRoot, filepath.Dir(name))
			if err != nil {
				return err
			}
			files[filepath.ToSlash(dir)] = text(t, name)
		}
		return nil
	}))
	require.Greater(t, len(files), 5, "the check saw the modules")
	return files
}

func text(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(content)
}

// Dependabot looks at all modules.
func TestDependabotKnowsAllModules(t *testing.T) {
	var want, got []string
	for dir := range moduleFiles(t) {
		want = append(want, filepath.ToSlash(filepath.Join("/", dir)))
	}
	for _, match := range regexp.MustCompile(`(?m)^      - (/\S*)$`).FindAllStringSubmatch(
		text(t, filepath.Join(moduleRoot, ".github/dependabot.yml")), -1) {
		got = append(got, match[1])
	}

	assert.ElementsMatch(t, want, got)
}

// All modules support the same versions of Go, .ci/run and the workflow test them, and the documents name them.
func TestVersionsOfGo(t *testing.T) {
	directive := regexp.MustCompile(`(?m)^go ((\d+\.\d+)\.\d+)$`)
	root := directive.FindStringSubmatch(text(t, filepath.Join(moduleRoot, "go.mod")))
	require.NotNil(t, root)
	for dir, mod := range moduleFiles(t) {
		assert.Equal(t, root, directive.FindStringSubmatch(mod), "%s/go.mod", dir)
		assert.NotContains(t, mod, "\ntoolchain ", "%s/go.mod", dir)
	}
	newest := regexp.MustCompile(`(?m)^newest=go((\d+\.\d+)\.\d+)$`).FindStringSubmatch(
		text(t, filepath.Join(moduleRoot, ".ci/run")))
	require.NotNil(t, newest)

	assert.Regexp(t, `go: \["`+root[2]+`\.x", .*"`+newest[2]+`\.x"\]`,
		text(t, filepath.Join(moduleRoot, ".github/workflows/ci.yml")))
	versioning := text(t, filepath.Join(moduleRoot, "docs/versioning.md"))
	assert.Contains(t, versioning, "Go "+root[2]+" and all newer versions are supported")
	assert.Contains(t, versioning, "with Go "+root[1]+" and "+newest[1])
	assert.Contains(t, text(t, filepath.Join(moduleRoot, "README.md")), "go-"+root[2]+"+")
}
