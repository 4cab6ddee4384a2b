package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// language is that of a reader: English or Chinese.
type language bool

const (
	english language = false
	chinese language = true
)

// tr returns the text in the language.
func (l language) tr(en, zh string) string {
	if l == chinese {
		return zh
	}
	return en
}

// tag returns the language tag of BCP 47.
func (l language) tag() string { return l.tr("en", "zh-CN") }

// preferred returns the language that an Accept-Language header prefers.
func preferred(header string) language {
	weights := map[string]float64{}
	for one := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(one), ";")
		main, _, _ := strings.Cut(strings.ToLower(tag), "-")
		weight := 1.0
		if q, found := strings.CutPrefix(strings.TrimSpace(params), "q="); found {
			weight, _ = strconv.ParseFloat(q, 64) // an invalid weight is 0
		}
		weights[main] = max(weights[main], weight)
	}
	return language(weights["zh"] > max(weights["en"], weights["*"]))
}

// message is a text or an error in both languages.
type message struct {
	en, zh string
	err    error // the first error of its arguments
}

// say returns a message. Arguments that are messages themselves are in the same language.
func say(en, zh string, args ...any) message {
	m := message{en: format(english, en, args), zh: format(chinese, zh, args)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			m.err = err
			break
		}
	}
	return m
}

func format(l language, text string, args []any) string {
	in := make([]any, len(args))
	for i, arg := range args {
		in[i] = arg
		if err, ok := arg.(error); ok {
			in[i] = l.explain(err)
		}
	}
	return fmt.Sprintf(text, in...)
}

func (m message) in(l language) string { return l.tr(m.en, m.zh) }

// Error returns the text in English.
func (m message) Error() string { return m.en }

func (m message) Unwrap() error { return m.err }

// explain returns the text of an error.
func (l language) explain(err error) string {
	if m := (message{}); errors.As(err, &m) {
		return m.in(l)
	}
	if l == chinese {
		return chineseErrcode(err.Error())
	}
	return err.Error()
}

var errcodePattern = regexp.MustCompile(`errcode (-?\d+)`)

// chineseErrcode returns the meaning of the errcode in an error, or the text if there is none.
func chineseErrcode(text string) string {
	found := errcodePattern.FindStringSubmatch(text)
	if found == nil {
		return text
	}
	n, _ := strconv.Atoi(found[1]) // it has digits only
	if meaning := wechatuser.Code(n).MeaningZH(); meaning != "" {
		return found[1] + " " + meaning
	}
	return text
}

// Localize returns an error of this package whose text is in English or Chinese.
func Localize(err error, inChinese bool) error {
	if err == nil {
		return nil
	}
	return localized{language(inChinese).explain(err), err}
}

type localized struct {
	text string
	err  error
}

func (l localized) Error() string { return l.text }
func (l localized) Unwrap() error { return l.err }
