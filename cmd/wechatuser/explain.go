package main

import (
	"context"
	"errors"
	"strings"

	"github.com/wechatuser/wechatuser/cmd/wechatuser/internal/chinese"
)

// explain returns the text of an error with its remedy, in the language of the user. In Chinese the original text
// follows, so that users can search for it.
func (a *app) explain(err error) string {
	if hint := (*hintError)(nil); errors.As(err, &hint) {
		return a.explain(hint.err) + "\n" + hint.hint
	}
	if a.isInterrupted() && (errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled)) {
		return a.tr("interrupted", "已中断")
	}
	text := strings.ReplaceAll(err.Error(), "wechatuser: ", "")
	if !a.chinese {
		return text
	}
	explained, cause := chinese.Explain(err)
	if cause == nil {
		return text
	}
	said := strings.ReplaceAll(cause.Error(), "wechatuser: ", "")
	if before, after, found := strings.Cut(text, said); found {
		return before + explained + after // with what the tool says around it
	}
	return explained
}
