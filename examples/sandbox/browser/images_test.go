package browser

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/stretchr/testify/require"
)

var images = flag.String("images", "", "write the images of the README to this `folder`")

// imageFiles are the images of the docs, by part of the page, language and width.
var imageFiles = map[string]string{
	"sandbox-en-1280": "sandbox.png", "sandbox-zh-1280": "sandbox.zh-CN.png", "profile-en-390": "sandbox-phone.png",
}

// maxImage is the maximum size of an image in bytes: readers download it with the README.
const maxImage = 150 << 10

// maxColors is the maximum number of colors of an image.
const maxColors = 128

// saveImage writes an image of the page if the flag asks for it and the docs have one, sharp on fine screens.
func (b *tab) saveImage(url, part string, width int) {
	b.t.Helper()
	name := imageFiles[part]
	if *images == "" || name == "" {
		return
	}
	b.must(nil, "Emulation.setScrollbarsHidden", map[string]any{"hidden": true})
	b.setScreen(width, 844, 2)
	b.open(url)
	var small bytes.Buffer
	require.NoError(b.t, fewerColors(&small, b.screenshot()))
	require.Less(b.t, small.Len(), maxImage, name)
	require.NoError(b.t, os.WriteFile(filepath.Join(*images, name), small.Bytes(), 0o644))
	b.must(nil, "Emulation.setScrollbarsHidden", map[string]any{"hidden": false})
	b.setWidth(width)
}

// fewerColors encodes a PNG with its most frequent colors, a third of the size: a page is mostly plain areas, and
// the edges of letters differ by less than the eye sees.
func fewerColors(to *bytes.Buffer, shot []byte) error {
	from, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return err
	}
	uses := map[color.RGBA]int{}
	bounds := from.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			uses[color.RGBAModel.Convert(from.At(x, y)).(color.RGBA)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(uses), func(a, b color.RGBA) int {
		return cmp.Or(uses[b]-uses[a], cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	palette := color.Palette{}
	for _, c := range frequent[:min(maxColors, len(frequent))] {
		palette = append(palette, c)
	}
	paletted := image.NewPaletted(bounds, palette)
	draw.Draw(paletted, bounds, from, bounds.Min, draw.Src)
	return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(to, paletted)
}
