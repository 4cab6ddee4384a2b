package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tables of the README match the file of results.
func TestReadmeMatchesResults(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	data, err := read(measured)
	require.NoError(t, err)
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	want, err := fillTables(text, data)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(text))
}

func TestNumberFormats(t *testing.T) {
	format := func(f func(float64) string, values ...float64) (texts []string) {
		for _, v := range values {
			texts = append(texts, f(v))
		}
		return texts
	}
	assert.Equal(t, []string{"19 ns", "4.6 µs", "5.2 ms", "202 s"}, format(duration, 19e-9, 4.6e-6, 5.2e-3, 202))
	assert.Equal(t, []string{"80 B", "6.4 kB", "1.67 MB"}, format(bytesText, 80, 6_400, 1.67e6))
	assert.Equal(t, []string{"0", "999", "1,000", "1,234,567"}, format(grouped, 0, 999, 1000, 1234567))
}

// With an even number of rounds, the median is the mean of the two in the middle. A ratio is computed per round.
func TestMedianAndRatio(t *testing.T) {
	data := dataset{values: map[string]map[string][]float64{
		"a": {seconds: {10, 1, 3, 2}},
		"b": {seconds: {20, 1, 1, 4}},
	}}
	assert.InDelta(t, 2.5, data.get("a", seconds), 1e-9)
	assert.InDelta(t, .75, data.ratio("a", "b", seconds), 1e-9)
}
