package main

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestReadOpenIDs(t *testing.T) {
	a, b, c := wechatusertest.OpenID(1), wechatusertest.OpenID(2), wechatusertest.OpenID(3)
	for name, test := range map[string]struct {
		text  string
		want  []string
		lines []int
	}{
		"a list":           {a + "\n" + b + "\n", []string{a, b}, []int{1, 2}},
		"no final newline": {a + "\n" + b, []string{a, b}, []int{1, 2}},
		"blank lines and comments": {
			"# \"quoted\n\n" + a + "\n  \n#" + b + "\n  # " + b + "\n" + c + "\n", []string{a, c}, []int{3, 7},
		},
		"BOM and CRLF": {"\ufeff" + a + "\r\n\r\n" + b + "\r\n", []string{a, b}, []int{1, 3}},
		"spaces":       {"  " + a + "  \n\t" + b + "\t\n", []string{a, b}, []int{1, 2}},
		"duplicates":   {a + "\n" + b + "\n" + a + "\n", []string{a, b}, []int{1, 2}},
		"a CSV": {
			"\ufeffopenid,remark\n" + a + ",\"two\nlines, \"\"quoted\"\"\"\n" + `"` + b + `",x` + "\n" + c + "\n",
			[]string{a, b, c}, []int{2, 4, 5},
		},
		"no openids": {"# nobody\n", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := testApp(t, nil).parseOpenIDs("members.txt", strings.NewReader(test.text))

			require.NoError(t, err)
			assert.Equal(t, test.want, list.ids)
			for i, id := range test.want {
				assert.Equal(t, test.lines[i], list.lines[id])
			}
			assert.Equal(t, name == "duplicates", list.duplicates == 1)
		})
	}
}

func TestInvalidLines(t *testing.T) {
	good := wechatusertest.OpenID(1)
	for text, want := range map[string]string{
		good + "\n10000000000\n":                  `line 2: "10000000000" is not an openid`,
		good + "\n\nopenid\n":                     `line 3: "openid" is not an openid`,
		good + " " + good + "\n":                  "line 1: ",
		good + ";x\n":                             "line 1: ",
		good + "\r" + good + "\n":                 "line 1: ",
		"," + good + "\n":                         `line 1: "" is not an openid`,
		good + "\n\x00\x00\n":                     "line 2: ",
		good + "\n" + good + "\"\n":               "line 2: ",
		good + "\n\"" + good + "\n" + good + "\n": "line 2: ",
		strings.Repeat("用户\n", 25):                "line 20: \"用户\" is not an openid\n  and 5 more",
	} {
		_, err := testApp(t, nil).parseOpenIDs("members.txt", strings.NewReader(text))

		require.Error(t, err, "%q", text)
		assert.Contains(t, err.Error(), "invalid lines in members.txt; nothing was sent:\n  line ")
		assert.Contains(t, err.Error(), want)
		assert.Equal(t, exitUsage, exitCode(err))
	}
	_, err := testApp(t, nil).parseOpenIDs("members.txt", strings.NewReader("a\n"+good+"\nb\"\nc\n"))
	for _, line := range []string{"line 1: ", "line 3: ", "line 4: "} {
		assert.ErrorContains(t, err, line, "all invalid lines are listed")
	}
}

// A read error is not taken for the end of the file.
func TestReadError(t *testing.T) {
	broken := errors.New("the disk is broken")
	text := strings.NewReader(wechatusertest.OpenID(1) + "\n")

	_, err := testApp(t, nil).parseOpenIDs("members.txt", io.MultiReader(text, iotest.ErrReader(broken)))

	assert.ErrorIs(t, err, broken)
}

// Files of programs for Windows are read: UTF-8 and UTF-16 with a byte order mark. UTF-16 without one is said to be
// that.
func TestEncodings(t *testing.T) {
	text := "openid,备注\r\n" + wechatusertest.OpenID(1) + ",张三\r\n"
	encoded := func(mark []byte, order binary.AppendByteOrder) string {
		for _, unit := range utf16.Encode([]rune(text)) {
			mark = order.AppendUint16(mark, unit)
		}
		return string(mark)
	}
	for name, file := range map[string]string{
		"UTF-8":                text,
		"UTF-8 with a mark":    "\ufeff" + text,
		"UTF-16 little endian": encoded([]byte{0xff, 0xfe}, binary.LittleEndian),
		"UTF-16 big endian":    encoded([]byte{0xfe, 0xff}, binary.BigEndian),
		"half a character":     encoded([]byte{0xff, 0xfe}, binary.LittleEndian) + "\n",
	} {
		list, err := testApp(t, nil).parseOpenIDs("members.csv", strings.NewReader(file))
		require.NoError(t, err, name)
		assert.Equal(t, []string{wechatusertest.OpenID(1)}, list.ids, name)
	}
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		_, err := testApp(t, nil).parseOpenIDs("members.csv", strings.NewReader(encoded(nil, order)))
		require.ErrorContains(t, err, "members.csv: not a text in UTF-8; save it as UTF-8")
		assert.Equal(t, exitUsage, exitCode(err))
	}
}
