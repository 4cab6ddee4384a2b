package export

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// csvTable is the CSV format of RFC 4180, but with lines that end in \n.
type csvTable struct {
	excel bool
}

// byteOrderMark makes Excel read a file as UTF-8.
const byteOrderMark = "\ufeff"

func (c csvTable) header() []byte {
	var b bytes.Buffer
	if c.excel {
		b.WriteString(byteOrderMark)
	}
	_ = writeRecord(&b, columnNames()) // writing to a buffer cannot fail
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

// cell returns text as the content of a cell. For Excel, it escapes text that Excel would take for a formula, such as
// a remark "=1+1". Programs that read the file do not need that.
func (c csvTable) cell(column int, text string) string {
	text = strings.ReplaceAll(text, "\x00", "") // after a power failure, NUL marks lost data
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

func (c csvTable) scan(r io.Reader) iter.Seq2[scannedRow, int64] {
	return func(yield func(scannedRow, int64) bool) {
		in := csv.NewReader(r)
		in.FieldsPerRecord, in.ReuseRecord = len(columns), true
		for {
			record, err := in.Read()
			if err != nil || slices.ContainsFunc(record, func(cell string) bool { return strings.Contains(cell, "\x00") }) {
				return
			}
			if !yield(scannedRow{openID: strings.Clone(record[0]), rejected: record[len(record)-1] != ""}, in.InputOffset()) {
				return
			}
		}
	}
}
