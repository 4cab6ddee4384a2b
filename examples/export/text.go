package main

import (
	"bytes"
	"io"
	"iter"
	"os"
)

// textFormat is how rows look in a text file.
type textFormat interface {
	header() []byte
	append(b *bytes.Buffer, r row) error
	// scan gives the rows of what follows the header, up to the first that is not well-formed, each with the place where
	// it ends.
	scan(r io.Reader) iter.Seq2[foundRow, int64]
}

type foundRow struct {
	openID  string
	refused bool
}

// textFile is a sink for text.
type textFile struct {
	file   *os.File
	format textFormat
	buf    bytes.Buffer
}

func (t *textFile) resume(found func(openID string, refused bool)) error {
	header := t.format.header()
	begin := make([]byte, len(header))
	if n, err := t.file.ReadAt(begin, 0); err != nil && err != io.EOF {
		return err
	} else if !bytes.Equal(begin[:n], header) {
		return t.cut(0, header)
	}
	size, err := t.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	start := int64(len(header))
	end := start
	for r, offset := range t.format.scan(io.NewSectionReader(t.file, start, size-start)) {
		if start+offset == size && !t.endsLine(size) {
			break // it looks like a row, but may be the beginning of a longer one
		}
		found(r.openID, r.refused)
		end = start + offset
	}
	return t.cut(end, nil)
}

// cut takes away what follows a place, and goes on from there with more.
func (t *textFile) cut(end int64, more []byte) error {
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

// close syncs only here: what is lost when the power fails before is fetched again.
func (t *textFile) close() error {
	err := t.file.Sync()
	if closeErr := t.file.Close(); err == nil {
		err = closeErr
	}
	return err
}
