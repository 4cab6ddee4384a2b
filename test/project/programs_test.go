package project

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// TestProgramsOfTheDocs builds each complete program of the documents in a module of its own and runs it. A program
// finds the simulator in its environment, if it has none of its own. What a comment says that a print statement prints,
// the program prints.
func TestProgramsOfTheDocs(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithFans(730))
	t.Cleanup(srv.Close)
	printed := regexp.MustCompile(`(?m)fmt\.Print[^\n]*\) +// (.+)$`)
	found := map[string]bool{}
	for _, b := range goBlocks(t) {
		if !strings.Contains(b.text, "package main\n") {
			continue
		}
		found[filepath.Base(strings.Split(b.position, ":")[0])] = true
		t.Run(b.position, func(t *testing.T) {
			t.Parallel()
			dir := newModule(t, b)
			cmd := exec.CommandContext(t.Context(), "go", "run", ".")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "WECHAT_APPID="+srv.AppID,
				"WECHAT_SECRET="+srv.Secret, "WECHAT_BASE_URL="+srv.URL)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			for _, match := range printed.FindAllStringSubmatch(b.text, -1) {
				assert.Contains(t, string(out), match[1])
			}
			assert.NotEmpty(t, out, "it prints something")
		})
	}
	assert.Subset(t, found, map[string]bool{"README.md": true, "README.zh-CN.md": true})
}

// newModule writes the program into a module whose go.mod is that of the block's module, which it requires.
func newModule(t *testing.T, b goBlock) string {
	t.Helper()
	dir, path := t.TempDir(), module
	root, err := filepath.Abs(moduleRoot)
	require.NoError(t, err)
	if b.module != "." {
		path = module + "/" + b.module
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, b.module, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-module=example", "-require="+path+"@v0.0.0",
		"-replace="+module+"="+root, "-replace="+path+"="+filepath.Join(root, b.module))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(b.text), 0o600))
	return dir
}
