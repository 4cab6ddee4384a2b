package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tables of the README are those of the file of results: nobody has written into them by hand.
func TestReadmeIsWhatWasMeasured(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	data, err := read(measured)
	require.NoError(t, err)
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	again, err := fill(text, data)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(again))
}

func TestFormats(t *testing.T) {
	assert.Equal(t, []string{"19 ns", "4.6 µs", "5.2 ms", "202 s"}, []string{duration(19e-9), duration(4.6e-6), duration(5.2e-3), duration(202)})
	assert.Equal(t, []string{"80 B", "6.4 kB", "1.67 MB"}, []string{bytesText(80), bytesText(6_400), bytesText(1.67e6)})
	assert.Equal(t, []string{"0", "999", "1,000", "1,234,567"}, []string{grouped(0), grouped(999), grouped(1000), grouped(1234567)})
}

// Of an even number of rounds the median is the mean of those in the middle; a ratio is of each round.
func TestMedians(t *testing.T) {
	data := dataset{values: map[string]map[string][]float64{
		"a": {seconds: {10, 1, 3, 2}},
		"b": {seconds: {20, 1, 1, 4}},
	}}
	assert.InDelta(t, 2.5, data.get("a", seconds), 1e-9)
	assert.InDelta(t, .75, data.ratio("a", "b", seconds), 1e-9)
}
