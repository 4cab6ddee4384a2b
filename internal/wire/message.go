package wire

import (
	"regexp"
	"strconv"
	"time"
)

// Message is an errmsg taken apart.
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

// ParseMessage takes an errmsg apart. These forms have been seen:
//
//	invalid appid
//	invalid tag id hint: [H]
//	invalid credential hints: [H!]
//	invalid appid, hints: [ req_id: H ]
//	api unauthorized rid: R
//	invalid appsecret, rid: R
//	invalid remark name hint: [H] rid: R
//
// What looks like a hint or a rid but has text after it is text.
func ParseMessage(errmsg string) Message {
	m := messageForm.FindStringSubmatch(errmsg)
	return Message{Text: m[1], Hint: m[2], RID: m[3]}
}

// RIDTime is when the request with this rid was made: the first group of a rid is the Unix time in hex.
// It is false for what is not a rid.
func RIDTime(rid string) (time.Time, bool) {
	if !ridForm.MatchString(rid) {
		return time.Time{}, false
	}
	sec, err := strconv.ParseInt(rid[:8], 16, 64)
	return time.Unix(sec, 0), err == nil
}
