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

// members holds the openids of a file without duplicates, in the order of the file.
type members struct {
	file       string
	openIDs    []string
	lines      map[string]int // line of the first occurrence
	duplicates int
}

func openMembers(name string) (*members, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMembers(filepath.Base(name), f)
}

// openIDPattern matches what looks like an openid. The format is not documented; the pattern only rules out names and
// phone numbers.
var openIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{20,64}$`)

// readMembers reads a list of openids or a CSV file. The error lists the invalid lines.
func readMembers(name string, r io.Reader) (*members, error) {
	m := &members{file: name, lines: make(map[string]int)}
	in := csv.NewReader(skipByteOrderMark(r))
	in.Comment, in.FieldsPerRecord, in.TrimLeadingSpace, in.ReuseRecord = '#', -1, true, true
	var bad []string
	for first := true; ; first = false {
		record, err := in.Read()
		if err == io.EOF {
			break
		}
		if parseErr := (*csv.ParseError)(nil); errors.As(err, &parseErr) {
			bad = append(bad, fmt.Sprintf("line %d: %v", parseErr.StartLine, parseErr.Err))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := in.FieldPos(0)
		switch id := strings.TrimSpace(record[0]); {
		case id == "" && len(record) == 1, strings.HasPrefix(id, "#"), first && strings.EqualFold(id, "openid"):
		case !openIDPattern.MatchString(id):
			bad = append(bad, fmt.Sprintf("line %d: %.60q is not an openid", line, id))
		case m.lines[id] > 0:
			m.duplicates++
		default:
			m.openIDs = append(m.openIDs, id)
			m.lines[id] = line
		}
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("%s has invalid lines; nothing was sent:\n  %s", name, strings.Join(firstN(bad, 20), "\n  "))
	}
	return m, nil
}

func skipByteOrderMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if begin, _ := b.Peek(3); string(begin) == "\ufeff" {
		_, _ = b.Discard(3)
	}
	return b
}

// firstN returns the first n elements of a list, and an element that says how many more there are.
func firstN(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	return append(list[:n:n], fmt.Sprintf("and %d more", len(list)-n))
}
