package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// results remembers the first write error, so that the exit code is not 0 if a result was lost.
type results struct {
	io.Writer
	err error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	if r.err == nil {
		r.err = err
	}
	return n, err
}

// input returns stdin. An interrupt ends it even while a read blocks.
func (a *app) input() io.Reader { return &input{a.in, a.interrupted} }

type input struct {
	in          io.Reader
	interrupted <-chan struct{}
}

func (r *input) Read(p []byte) (int, error) {
	type read struct {
		n   int
		err error
	}
	done, buf := make(chan read, 1), make([]byte, len(p)) // p may not be written to after an interrupt
	go func() {
		n, err := r.in.Read(buf)
		done <- read{n, err}
	}()
	select {
	case got := <-done:
		return copy(p, buf[:got.n]), got.err
	case <-r.interrupted:
		return 0, errInterrupted
	}
}

// printJSON prints a value as one line of JSON.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints aligned columns.
type table struct {
	w    io.Writer
	rows [][]string
}

func (a *app) table(header ...string) *table {
	t := &table{w: a.out}
	if len(header) > 0 {
		t.row(header...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = visible(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// flush prints the rows. It aligns columns by the display width of their texts, except for the last cell of a row.
func (t *table) flush() error {
	var widths []int
	for _, cells := range t.rows {
		for i, cell := range cells[:max(len(cells)-1, 0)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], displayWidth(cell))
		}
	}
	var out strings.Builder
	for _, cells := range t.rows {
		line := ""
		for i, cell := range cells {
			if i < len(cells)-1 {
				cell = padRight(cell, widths[i]+2)
			}
			line += cell
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(t.w, out.String())
	return err
}

// ask asks a question on stderr, and reports whether the answer is yes.
func (a *app) ask(question string) bool {
	fmt.Fprint(a.err, question+" [y/N] ")
	line, err := bufio.NewReader(a.input()).ReadString('\n')
	if err != nil && line == "" {
		return false
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "是":
		return true
	default:
		return false
	}
}
