package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf16"

	"github.com/spf13/cobra"
)

// openIDs holds the openids of the arguments or of a file, in order and without duplicates.
type openIDs struct {
	name       string // of the file
	ids        []string
	lines      map[string]int // line of the first occurrence in the file
	duplicates int
}

// openIDFlag adds the flag for a file with openids.
func (a *app) openIDFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", "", a.tr("`file` with an openid per line, or a CSV file; - for stdin",
		"openid `文件`：每行一个，或为 CSV 文件；- 表示标准输入"))
}

// readOpenIDs reads the openids from the file if there is one, and else from the arguments.
func (a *app) readOpenIDs(args []string, file string) (*openIDs, error) {
	switch {
	case file == "" && len(args) == 0:
		return nil, usageError(a.tr("no openids: name them, or a file with -f", "没有 openid：请直接列出，或用 -f 指定文件"))
	case file != "" && len(args) > 0:
		return nil, usageError(a.tr("openids both as arguments and in a file", "openid 不能既在参数中又在文件中"))
	case file == "":
		return a.parseOpenIDs(a.tr("the arguments", "参数"), strings.NewReader(strings.Join(args, "\n")))
	case file == "-":
		return a.parseOpenIDs(a.tr("stdin", "标准输入"), a.input())
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	defer f.Close()
	return a.parseOpenIDs(filepath.Base(file), f)
}

// openIDPattern matches texts that can be openids. The format is not documented; the pattern only rules out names and
// phone numbers.
var openIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{20,64}$`)

// parseOpenIDs reads a list of openids or a CSV file. The error lists the invalid lines.
func (a *app) parseOpenIDs(name string, r io.Reader) (*openIDs, error) {
	list := &openIDs{name: name, lines: make(map[string]int)}
	text, err := a.utf8Text(r)
	if err != nil {
		return nil, a.unreadable(name, err)
	}
	in := csv.NewReader(text)
	in.Comment, in.FieldsPerRecord, in.TrimLeadingSpace, in.ReuseRecord = '#', -1, true, true
	var bad []string
	for first := true; ; first = false {
		record, err := in.Read()
		if err == io.EOF {
			break
		}
		if parseErr := (*csv.ParseError)(nil); errors.As(err, &parseErr) {
			bad = append(bad, fmt.Sprintf(a.tr("line %d: misplaced quotation mark", "第 %d 行：引号位置有误"),
				parseErr.StartLine))
			continue
		}
		if err != nil {
			return nil, a.unreadable(name, err)
		}
		line, _ := in.FieldPos(0)
		switch id := strings.Clone(strings.TrimSpace(record[0])); {
		case id == "" && len(record) == 1, strings.HasPrefix(id, "#"), first && strings.EqualFold(id, "openid"):
		case !openIDPattern.MatchString(id):
			bad = append(bad, fmt.Sprintf(a.tr("line %d: %.60q is not an openid", "第 %d 行：%.60q 不是 openid"), line, id))
		case list.lines[id] > 0:
			list.duplicates++
		default:
			list.ids = append(list.ids, id)
			list.lines[id] = line
		}
	}
	if len(bad) > 0 {
		return nil, usageError(fmt.Sprintf(a.tr("invalid lines in %s; nothing was sent:\n  %s", "以下各行无效（%s），未发送任何请求：\n  %s"),
			name, strings.Join(a.firstN(bad, 20), "\n  ")))
	}
	return list, nil
}

// unreadable returns the error of a file that cannot be read, unless the user has interrupted the reading.
func (a *app) unreadable(name string, err error) error {
	if errors.Is(err, errInterrupted) {
		return err
	}
	return &exitError{exitUsage, fmt.Errorf("%s: %w", name, err)}
}

// utf8Text returns a text in UTF-8 without a byte order mark. A text in UTF-16, as some programs for Windows save it,
// is converted if it has a byte order mark.
func (a *app) utf8Text(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	begin, err := b.Peek(3)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(begin, []byte("\ufeff")):
		_, _ = b.Discard(3)
		return b, nil
	case bytes.HasPrefix(begin, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(begin, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case len(begin) > 1 && (begin[0] == 0 || begin[1] == 0): // UTF-16 without one
		return nil, errors.New(a.tr("not a text in UTF-8; save it as UTF-8 or as CSV", "不是 UTF-8 文本：请另存为 UTF-8 或 CSV"))
	default:
		return b, nil
	}
	text, err := io.ReadAll(b)
	if err != nil {
		return nil, err
	}
	units := make([]uint16, 0, len(text)/2)
	for pair := text[2:]; len(pair) > 1; pair = pair[2:] {
		units = append(units, order.Uint16(pair))
	}
	return strings.NewReader(string(utf16.Decode(units))), nil
}

// firstN returns the first n elements of a list, followed by a text with the number of the others, if any.
func (a *app) firstN(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	return append(list[:n:n], fmt.Sprintf(a.tr("and %d more", "另有 %d 个"), len(list)-n))
}

// untilInterrupted ends a sequence with an error after an interrupt, so that a job completes the calls in flight.
func untilInterrupted[T any](a *app, seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range seq {
			select {
			case <-a.interrupted:
				yield(*new(T), errInterrupted)
				return
			default:
			}
			if !yield(v, err) {
				return
			}
		}
	}
}
