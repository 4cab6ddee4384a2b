package benchmarks

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// binarySize builds a program of internal/hello without debug information and returns its size in bytes.
func binarySize(tb testing.TB, program string) int64 {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), program)
	build := exec.CommandContext(tb.Context(), "go", "build", "-ldflags=-s -w", "-o", path, "./internal/hello/"+program)
	out, err := build.CombinedOutput()
	require.NoError(tb, err, "%s", out)
	info, err := os.Stat(path)
	require.NoError(tb, err)
	return info.Size()
}

// BenchmarkBinary reports the size of small programs with and without the SDK.
func BenchmarkBinary(b *testing.B) {
	for _, program := range []string{"nethttp", "encodingjson", "wechatuser"} {
		b.Run("program="+program, func(b *testing.B) {
			size := int64(0)
			for b.Loop() {
				size = binarySize(b, program)
			}
			b.ReportMetric(float64(size), "binary-bytes")
		})
	}
}
