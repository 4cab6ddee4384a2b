package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// csvTable is CSV as RFC 4180 has it, but with lines that end in \n.
type csvTable struct {
	excel bool
}

// byteOrderMark tells Excel that a file is UTF-8.
const byteOrderMark = "\ufeff"

func (c csvTable) header() []byte {
	var b bytes.Buffer
	if c.excel {
		b.WriteString(byteOrderMark)
	}
	_ = writeRecord(&b, columnNames()) // a buffer takes all
	return b.Bytes()
}

func (c csvTable) append(b *bytes.Buffer, r row) error {
	record := make([]string, len(columns))
	for i := range columns {
		if v := r.value(i); v != nil {
			record[i] = c.cell(i, fmt.Sprint(v))
		}
	}
	return writeRecord(b, record)
}

// cell makes text safe for a table. Excel would take a remark such as "=1+1" for a formula, which a program that reads
// the file does not, so that only -excel changes it.
func (c csvTable) cell(column int, text string) string {
	text = strings.ReplaceAll(text, "\x00", "") // it marks what a power failure left
	if c.excel && column > 0 && text != "" && strings.ContainsAny(text[:1], "=+-@\t\r") {
		return "'" + text
	}
	return text
}

func writeRecord(b *bytes.Buffer, record []string) error {
	w := csv.NewWriter(b)
	if err := w.Write(record); err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}

func (c csvTable) scan(r io.Reader) iter.Seq2[foundRow, int64] {
	return func(yield func(foundRow, int64) bool) {
		in := csv.NewReader(r)
		in.FieldsPerRecord, in.ReuseRecord = len(columns), true
		for {
			record, err := in.Read()
			if err != nil || slices.ContainsFunc(record, func(cell string) bool { return strings.Contains(cell, "\x00") }) {
				return
			}
			if !yield(foundRow{openID: strings.Clone(record[0]), refused: record[len(record)-1] != ""}, in.InputOffset()) {
				return
			}
		}
	}
}
