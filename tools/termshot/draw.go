package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// line is a line of the terminal.
type line struct {
	text    string
	command bool // what the user typed
}

// The size of the picture, in units of the SVG.
const (
	columns     = 130 // longer lines are wrapped
	cell        = 8.0 // the width of a column
	lineHeight  = 20
	titleHeight = 38
	padding     = 18
)

const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]g %[2]d" width="%[1]g" height="%[2]d">
<title>%[3]s</title>
<style>
text {
  font: 13.3px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "PingFang SC", "Microsoft YaHei",
    "Noto Sans Mono CJK SC", monospace;
  fill: #d7dee8; white-space: pre;
}
.command { fill: #fff; font-weight: 600; }
.prompt { fill: #3ddc91; }
.wide { font-size: 15px; }
</style>
<rect width="100%%" height="100%%" rx="10" fill="#161b22"/>
<g><circle cx="20" cy="19" r="6" fill="#ff5f57"/><circle cx="40" cy="19" r="6" fill="#febc2e"/>` +
	`<circle cx="60" cy="19" r="6" fill="#28c840"/></g>
`

// draw returns an SVG of a terminal window.
func draw(shown []line) []byte {
	rows, title := 0, "wechatuser"
	var body bytes.Buffer
	for _, l := range shown {
		class, text := "", l.text
		if l.command {
			class = "command"
			title += "; " + l.text
			text = "$ " + text
		}
		for _, row := range wrap(text) {
			rows++
			y := titleHeight + rows*lineHeight - 6
			for _, s := range segments(row) {
				c := class
				switch {
				case l.command && s.column == 0:
					c = "prompt"
				case utf8.RuneCountInString(s.text) < s.width:
					c = "wide"
				}
				write(&body, s, y, c)
			}
		}
	}
	var svg bytes.Buffer
	fmt.Fprintf(&svg, head, columns*cell+2*padding, titleHeight+rows*lineHeight+padding, escape(title))
	svg.Write(body.Bytes())
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

// segment is a text without spaces that begins at a column. All of its characters have the same width.
type segment struct {
	text          string
	column, width int
}

// write writes a segment. It sets the width of the text, so that columns are aligned in every font.
func write(to *bytes.Buffer, s segment, y int, class string) {
	if class != "" {
		class = fmt.Sprintf(" class=%q", class)
	}
	fmt.Fprintf(to, "<text%s x=\"%g\" y=\"%d\" textLength=\"%g\">%s</text>\n",
		class, padding+float64(s.column)*cell, y, float64(s.width)*cell, escape(s.text))
}

func escape(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder returns no error
	return out.String()
}

// wrap splits a line at the last column, as a terminal does.
func wrap(text string) (rows []string) {
	from, width := 0, 0
	for i, r := range text {
		if width+cells(r) > columns {
			rows = append(rows, text[from:i])
			from, width = i, 0
		}
		width += cells(r)
	}
	return append(rows, text[from:])
}

// segments splits a row at spaces, and where the width of the characters changes between one and two columns.
func segments(row string) (list []segment) {
	column, last := 0, 0 // last is the width of the previous character, or 0 after a space
	for _, r := range row {
		n := cells(r)
		switch {
		case r == ' ':
			last = 0
		case last == n:
			s := &list[len(list)-1]
			s.text += string(r)
			s.width += n
		default:
			list = append(list, segment{string(r), column, n})
			last = n
		}
		column += n
	}
	return list
}

// wide has the characters of Chinese texts that are two columns wide.
var wide = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x2e80, Hi: 0xa4cf, Stride: 1}, // ideographs, and their punctuation
	{Lo: 0xf900, Hi: 0xfaff, Stride: 1},
	{Lo: 0xff00, Hi: 0xff60, Stride: 1}, // full-width forms
}}

// cells returns the number of columns of a character.
func cells(r rune) int {
	if unicode.Is(wide, r) {
		return 2
	}
	return 1
}
