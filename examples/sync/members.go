package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// members are the openids of a file, each once, in its order.
type members struct {
	file    string
	openIDs []string
	lines   map[string]int // where an openid is first
	doubles int
}

func openMembers(name string) (*members, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMembers(filepath.Base(name), f)
}

// likeOpenID is what openids look like. It is not documented; this much tells them from names and telephone numbers.
var likeOpenID = regexp.MustCompile(`^[A-Za-z0-9_-]{20,64}$`)

// readMembers reads a list or a CSV. Its error names all lines that are wrong.
func readMembers(name string, r io.Reader) (*members, error) {
	m := &members{file: name, lines: make(map[string]int)}
	in := csv.NewReader(withoutByteOrderMark(r))
	in.Comment, in.FieldsPerRecord, in.TrimLeadingSpace, in.ReuseRecord = '#', -1, true, true
	var bad []string
	for first := true; ; first = false {
		record, err := in.Read()
		if err == io.EOF {
			break
		}
		if wrong := (*csv.ParseError)(nil); errors.As(err, &wrong) {
			bad = append(bad, fmt.Sprintf("line %d: %v", wrong.StartLine, wrong.Err))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := in.FieldPos(0)
		switch id := strings.TrimSpace(record[0]); {
		case id == "" && len(record) == 1, strings.HasPrefix(id, "#"), first && strings.EqualFold(id, "openid"):
		case !likeOpenID.MatchString(id):
			bad = append(bad, fmt.Sprintf("line %d: %.60q is no openid", line, id))
		case m.lines[id] > 0:
			m.doubles++
		default:
			m.openIDs = append(m.openIDs, id)
			m.lines[id] = line
		}
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("%s has bad lines, and nothing was sent:\n  %s", name, strings.Join(few(bad, 20), "\n  "))
	}
	return m, nil
}

func withoutByteOrderMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if begin, _ := b.Peek(3); string(begin) == "\ufeff" {
		_, _ = b.Discard(3)
	}
	return b
}

// few is the first n of a list, and how many more there are.
func few(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	return append(list[:n:n], fmt.Sprintf("and %d more", len(list)-n))
}
