package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSegmentsStandAtTheirColumns(t *testing.T) {
	assert.Equal(t, []segment{
		{"正常", 0, 4}, {"DNS", 6, 3}, {"，", 9, 2}, {"ok", 11, 2},
	}, segments("正常  DNS，ok"))
	assert.Empty(t, segments("   "))
}

func TestLongLinesGoOnBelow(t *testing.T) {
	text := strings.Repeat("a", columns-1) + "会" + "b"
	assert.Equal(t, []string{strings.Repeat("a", columns-1), "会b"}, wrap(text), "no half of a character")
	assert.Equal(t, []string{""}, wrap(""))
}

// The pictures are well-formed and show all commands, which the tool has been given as they stand here.
func TestPicturesShowTheCommands(t *testing.T) {
	for name := range pictures {
		file, err := os.Open(filepath.Join("..", "..", "docs", "images", name))
		require.NoError(t, err)
		defer file.Close()
		var text strings.Builder
		for dec := xml.NewDecoder(file); ; {
			token, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if chars, ok := token.(xml.CharData); ok {
				text.Write(chars)
			}
		}
		for _, command := range commands {
			assert.Contains(t, text.String(), command, "run go run ./tools/termshot")
		}
	}
}

func TestTextIsEscaped(t *testing.T) {
	svg := string(draw([]line{{text: "a > b", command: true}, {text: "<&"}}))
	assert.Contains(t, svg, "<title>wechatuser; a &gt; b</title>")
	assert.Contains(t, svg, ">&lt;&amp;</text>")
}
