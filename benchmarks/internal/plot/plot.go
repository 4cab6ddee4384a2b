// Package plot draws small line and bar charts as SVG, with panels side by side and colors for light and dark pages.
package plot

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Panel is one chart of a figure: Lines or Bars.
type Panel interface {
	draw(c *canvas, width, height float64)
}

// Axis is one axis of Lines.
type Axis struct {
	Label string
	Log   bool
	// Ticks are the values with a label and a grid line; the first and the last are the bounds of the axis. They are
	// optional on a logarithmic axis: the default is the powers of ten around all values.
	Ticks []float64
	// Format formats the label of a tick. Nil stands for %g.
	Format func(float64) string
}

// Series is one line.
type Series struct {
	Name string // label at its right end
	X, Y []float64
	Dots bool // mark the points
	Thin bool // dashed and gray, for a reference
}

// Lines is a chart of lines.
type Lines struct {
	Title  string
	X, Y   Axis
	Series []Series
}

// Bar is one row of Bars.
type Bar struct {
	Name  string
	Value float64
	Text  string // label at its right end
	Own   bool   // in the first color; the others are gray
}

// Bars is a chart of horizontal bars.
type Bars struct {
	Title string
	Rows  []Bar
}

const (
	panelWidth, panelHeight = 450, 300
	lineHeight              = 15 // between the baselines of two lines of text
	titleSpace              = 44
)

// style sets a background color, as a page can be dark while the reader's system is light.
const style = `
text{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#59636e}
.title{font-size:14px;font-weight:600;fill:#1f2328}
.name{fill:#1f2328}
.back{fill:#ffffff}
.grid{stroke:#d1d9e0;stroke-width:1}
.line{fill:none;stroke-width:2.25;stroke-linejoin:round}
.thin{fill:none;stroke:#818b98;stroke-width:1.5;stroke-dasharray:5 4}
.other{fill:#b6bfc9}
.l0{stroke:#0969da}.l1{stroke:#bc4c00}.l2{stroke:#1a7f37}.l3{stroke:#8250df}
.f0{fill:#0969da}.f1{fill:#bc4c00}.f2{fill:#1a7f37}.f3{fill:#8250df}
@media (prefers-color-scheme:dark){
text{fill:#9198a1}
.title,.name{fill:#f0f6fc}
.back{fill:#0d1117}
.grid{stroke:#3d444d}
.thin{stroke:#9198a1}
.other{fill:#565f6a}
.l0{stroke:#4493f8}.l1{stroke:#f0883e}.l2{stroke:#3fb950}.l3{stroke:#ab7df8}
.f0{fill:#4493f8}.f1{fill:#f0883e}.f2{fill:#3fb950}.f3{fill:#ab7df8}
}`

const colors = 4

// SVG draws panels side by side. The description is for readers who cannot see the figure.
func SVG(description string, panels ...Panel) []byte {
	c := &canvas{}
	width := panelWidth * len(panels)
	fmt.Fprintf(&c.out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" `+
		`role="img" aria-label="%s">`+"\n<style>%s\n</style>\n",
		width, panelHeight, width, panelHeight, html.EscapeString(description), style)
	c.printf(`<rect class="back" width="%d" height="%d" rx="6"/>`, width, panelHeight)
	for i, p := range panels {
		c.x = float64(i * panelWidth)
		p.draw(c, panelWidth, panelHeight)
	}
	c.printf("</svg>")
	return []byte(c.out.String())
}

// canvas collects the elements of a figure; x is the left edge of the current panel.
type canvas struct {
	out strings.Builder
	x   float64
}

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(&c.out, format+"\n", args...) }

func (c *canvas) text(class, anchor string, x, y float64, s string) {
	c.printf(`<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`,
		class, anchor, c.x+x, y, html.EscapeString(s))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.printf(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, c.x+x1, y1, c.x+x2, y2)
}

func (c *canvas) title(s string) { c.text("title", "start", 18, 26, s) }

// at returns the position of a value on the axis: 0 for the first tick, 1 for the last.
func (a Axis) at(v float64) float64 {
	first, last := a.Ticks[0], a.Ticks[len(a.Ticks)-1]
	if a.Log {
		return math.Log(v/first) / math.Log(last/first)
	}
	return (v - first) / (last - first)
}

// setDefaultTicks sets the ticks of a logarithmic axis that has none.
func (a *Axis) setDefaultTicks(values []float64) {
	if a.Ticks != nil {
		return
	}
	last := math.Ceil(math.Log10(slices.Max(values)))
	for e := math.Floor(math.Log10(slices.Min(values))); e <= last; e++ {
		a.Ticks = append(a.Ticks, math.Pow(10, e))
	}
}

func (a Axis) format(v float64) string {
	if a.Format != nil {
		return a.Format(v)
	}
	return fmt.Sprintf("%g", v)
}

func (l Lines) draw(c *canvas, width, height float64) {
	const left, right, bottom = 80, 98, 52
	var xs, ys []float64
	for _, s := range l.Series {
		xs, ys = append(xs, s.X...), append(ys, s.Y...)
	}
	l.X.setDefaultTicks(xs)
	l.Y.setDefaultTicks(ys)
	var (
		top = float64(titleSpace + 18)
		x   = func(v float64) float64 { return left + l.X.at(v)*(width-left-right) }
		y   = func(v float64) float64 { return height - bottom - l.Y.at(v)*(height-bottom-top) }
	)
	c.title(l.Title)
	c.text("", "start", 18, titleSpace+2, l.Y.Label)
	c.text("", "middle", (left+width-right)/2, height-14, l.X.Label)
	for _, v := range l.Y.Ticks {
		c.line("grid", left, y(v), width-right, y(v))
		c.text("", "end", left-7, y(v)+4, l.Y.format(v))
	}
	for _, v := range l.X.Ticks {
		c.line("grid", x(v), height-bottom, x(v), height-bottom+4)
		c.text("", "middle", x(v), height-bottom+18, l.X.format(v))
	}
	var (
		labels []label
		color  int
	)
	for _, s := range l.Series {
		stroke, fill := "thin", ""
		if !s.Thin {
			stroke, fill = fmt.Sprintf("line l%d", color), fmt.Sprintf("f%d", color)
			color = (color + 1) % colors
		}
		var points strings.Builder
		for i := range s.X {
			fmt.Fprintf(&points, "%.1f,%.1f ", c.x+x(s.X[i]), y(s.Y[i]))
			if s.Dots {
				c.printf(`<circle class="%s" cx="%.1f" cy="%.1f" r="3.2"/>`, fill, c.x+x(s.X[i]), y(s.Y[i]))
			}
		}
		c.printf(`<polyline class="%s" points="%s"/>`, stroke, strings.TrimSpace(points.String()))
		end := len(s.X) - 1
		labels = append(labels, label{fill, s.Name, x(s.X[end]) + 8, y(s.Y[end]) + 4})
	}
	for _, n := range separate(labels) {
		c.text(n.class, "start", n.x, n.y, n.text)
	}
}

// label is the name of a series and its position.
type label struct {
	class, text string
	x, y        float64
}

// separate moves labels vertically so that they do not overlap.
func separate(labels []label) []label {
	slices.SortStableFunc(labels, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	for range 20 { // each pass moves neighbors apart by half of their overlap
		for i := 1; i < len(labels); i++ {
			if over := labels[i-1].y + lineHeight - labels[i].y; over > 0 {
				labels[i-1].y -= over / 2
				labels[i].y += over / 2
			}
		}
	}
	return labels
}

func (b Bars) draw(c *canvas, width, height float64) {
	const left, right, bottom = 140, 80, 18
	longest := 0.
	for _, r := range b.Rows {
		longest = max(longest, r.Value)
	}
	c.title(b.Title)
	step := (height - titleSpace - bottom) / float64(len(b.Rows))
	for i, r := range b.Rows {
		class, y := "other", titleSpace+step*float64(i)
		if r.Own {
			class = "f0"
		}
		length := r.Value / longest * (width - left - right)
		c.text("name", "end", left-8, y+step/2+4, r.Name)
		c.printf(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2"/>`,
			class, c.x+left, y+step*.2, length, step*.6)
		c.text("", "start", left+length+7, y+step/2+4, r.Text)
	}
}
