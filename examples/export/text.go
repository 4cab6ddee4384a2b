package main

import (
	"bytes"
	"io"
	"iter"
	"os"
)

// textFormat is the format of rows in a text file.
type textFormat interface {
	header() []byte
	append(b *bytes.Buffer, r row) error
	// scan returns the rows after the header, up to the first invalid one, each with the offset of its end.
	scan(r io.Reader) iter.Seq2[scannedRow, int64]
}

type scannedRow struct {
	openID   string
	rejected bool
}

// textFile is a sink for CSV and JSON Lines.
type textFile struct {
	file   *os.File
	format textFormat
	buf    bytes.Buffer
}

func (t *textFile) resume(add func(openID string, rejected bool)) error {
	header := t.format.header()
	begin := make([]byte, len(header))
	if n, err := t.file.ReadAt(begin, 0); err != nil && err != io.EOF {
		return err
	} else if !bytes.Equal(begin[:n], header) {
		return t.truncate(0, header)
	}
	size, err := t.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	start := int64(len(header))
	end := start
	for r, offset := range t.format.scan(io.NewSectionReader(t.file, start, size-start)) {
		if start+offset == size && !t.endsLine(size) {
			break // it may be the beginning of a longer row
		}
		add(r.openID, r.rejected)
		end = start + offset
	}
	return t.truncate(end, nil)
}

// truncate truncates the file at an offset and writes more there.
func (t *textFile) truncate(end int64, more []byte) error {
	if err := t.file.Truncate(end); err != nil {
		return err
	}
	if _, err := t.file.Seek(end, io.SeekStart); err != nil {
		return err
	}
	_, err := t.file.Write(more)
	return err
}

func (t *textFile) endsLine(size int64) bool {
	var last [1]byte
	_, err := t.file.ReadAt(last[:], size-1)
	return err == nil && last[0] == '\n'
}

func (t *textFile) write(rows []row) error {
	t.buf.Reset()
	for _, r := range rows {
		if err := t.format.append(&t.buf, r); err != nil {
			return err
		}
	}
	_, err := t.file.Write(t.buf.Bytes())
	return err
}

// close syncs the file. There is no need to sync earlier: rows lost in a power failure are read again.
func (t *textFile) close() error {
	err := t.file.Sync()
	if closeErr := t.file.Close(); err == nil {
		err = closeErr
	}
	return err
}
