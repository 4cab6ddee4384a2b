package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSVGIsXML(t *testing.T) {
	svg := string(SVG(`a "figure" of <two>`,
		Lines{Title: "a < b", X: Axis{Label: "x", Log: true}, Y: Axis{Label: "y & z", Ticks: []float64{0, 10}},
			Series: []Series{
				{Name: "one", X: []float64{3, 2000}, Y: []float64{0, 10}, Dots: true},
				{Name: "two", X: []float64{3}, Y: []float64{5}, Thin: true},
			}},
		Bars{Title: "bars", Rows: []Bar{
			{Name: "long", Value: 4, Text: "4 s", Own: true}, {Name: "short", Value: 1, Text: "1 s"},
		}},
	))
	var texts []string
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if text, ok := token.(xml.CharData); ok && strings.TrimSpace(string(text)) != "" {
			texts = append(texts, string(text))
		}
	}
	for _, want := range []string{"a < b", "y & z", "1", "10000", "one", "two", "long", "4 s"} {
		assert.Contains(t, texts, want)
	}
	assert.NotContains(t, svg, "NaN")
}

func TestLabelsDoNotOverlap(t *testing.T) {
	for _, ys := range [][]float64{{10, 10, 10, 10}, {50, 10, 12, 49}, {0, 14, 28, 30}} {
		var labels []label
		for _, y := range ys {
			labels = append(labels, label{y: y})
		}
		labels = separate(labels)
		for i := 1; i < len(labels); i++ {
			assert.GreaterOrEqual(t, labels[i].y-labels[i-1].y, lineHeight-1., "%v", ys)
		}
	}
}

func TestAxisTicksAndPositions(t *testing.T) {
	log := Axis{Log: true}
	log.setDefaultTicks([]float64{3, 2000})
	assert.InDeltaSlice(t, []float64{1, 10, 100, 1000, 10_000}, log.Ticks, 1e-9)
	assert.InDelta(t, .5, log.at(100), 1e-9)
	assert.InDelta(t, .25, Axis{Ticks: []float64{0, 4, 8}}.at(2), 1e-9)
}
