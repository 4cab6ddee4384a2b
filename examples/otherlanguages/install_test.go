package otherlanguages

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// install returns the paths of node and of the folder with the SDKs. It downloads them once, to the user's cache
// folder, under the hash of package-lock.json.
func install(t *testing.T) (node, modules string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not in PATH: install Node.js 18 or newer, with npm, to run this test")
	}
	lock, err := os.ReadFile("package-lock.json")
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, fmt.Sprintf("wechatuser-otherlanguages-%x", sha256.Sum256(lock)))
	modules = filepath.Join(dir, "node_modules")
	if _, err := os.Stat(dir); err == nil {
		return node, modules
	}

	// Install to a temporary folder and rename it, so that a killed test leaves no incomplete folder.
	part, err := os.MkdirTemp(cache, "wechatuser-otherlanguages-part-")
	require.NoError(t, err)
	defer os.RemoveAll(part)
	manifest, err := os.ReadFile("package.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(part, "package.json"), manifest, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(part, "package-lock.json"), lock, 0o600))
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts",
		"--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000") // fail soon without a network
	npm.Dir, npm.WaitDelay = part, 5*time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		if testing.Short() {
			t.Skipf("npm cannot install the SDKs: %v", err)
		}
		t.Fatalf("npm cannot install the SDKs; -short skips this test: %v\n%s", err, out)
	}
	if err := os.Rename(part, dir); err != nil {
		require.DirExists(t, dir, "unless another run has created it: %v", err)
	}
	return node, modules
}
