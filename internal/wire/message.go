package wire

import (
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"
)

// Message is a parsed errmsg.
type Message struct {
	Text string // what went wrong
	Hint string // the request, as older servers name it
	RID  string // the request, as newer servers name it
}

const ridPattern = `[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}`

var (
	// messageForm is a text and after it any number of hints and rids; of several of a kind the last counts.
	messageForm = regexp.MustCompile(`(?s)^\s*(.*?)` +
		`(?:[\s,]*(?:hints?:\s*\[\s*(?:req_id:\s*)?([^\[\]]*?)\s*\]|rid:\s*(` + ridPattern + `)))*` +
		`[\s,]*$`)
	ridForm = regexp.MustCompile(`^` + ridPattern + `$`)
)

// maxMessage is the number of bytes of an errmsg that are kept.
const maxMessage = 2 << 10

// Shorten returns text in at most size bytes: its beginning, an ellipsis and its end. In an errmsg the end has the rid.
func Shorten(text string, size int) string {
	const ellipsis = "…"
	if len(text) <= size {
		return text
	}
	end := len(text) - size/4
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end++
	}
	begin := size - len(ellipsis) - (len(text) - end)
	for begin > 0 && !utf8.RuneStart(text[begin]) {
		begin--
	}
	return text[:begin] + ellipsis + text[end:]
}

// ParseMessage parses an errmsg. If that is longer than 2 KiB, only its beginning and its end are parsed. These forms
// have been observed:
//
//	invalid appid
//	invalid tag id hint: [H]
//	invalid credential hints: [H!]
//	invalid appid, hints: [ req_id: H ]
//	api unauthorized rid: R
//	invalid appsecret, rid: R
//	invalid remark name hint: [H] rid: R
//
// A hint or a rid that is followed by text is part of the text.
func ParseMessage(errmsg string) Message {
	m := messageForm.FindStringSubmatch(Shorten(errmsg, maxMessage))
	return Message{Text: m[1], Hint: m[2], RID: m[3]}
}

// RIDTime returns when the request with this rid was made: the first group of a rid is the Unix time in hex. It returns
// false if the text is not a rid.
func RIDTime(rid string) (time.Time, bool) {
	if !ridForm.MatchString(rid) {
		return time.Time{}, false
	}
	sec, err := strconv.ParseInt(rid[:8], 16, 64)
	return time.Unix(sec, 0), err == nil
}
