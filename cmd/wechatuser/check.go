package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wechatuser/wechatuser"
)

// rehearse returns the error of the SDK for the arguments of a call, without sending it. So a command can report
// invalid arguments before its plan.
func rehearse(ctx context.Context, call func(context.Context, *wechatuser.Client) error) error {
	c, err := wechatuser.New("rehearsal", "rehearsal", wechatuser.WithTransport(noTransport{}),
		wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
	if err != nil {
		return err
	}
	if wrong := (*wechatuser.ArgumentError)(nil); errors.As(call(ctx, c), &wrong) {
		return wrong
	}
	return nil
}

// noTransport sends nothing.
type noTransport struct{}

func (noTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nothing is sent in a rehearsal")
}

// checkTagName returns the error of the SDK for the name of a new tag.
func checkTagName(ctx context.Context, name string) error {
	return rehearse(ctx, func(ctx context.Context, c *wechatuser.Client) error {
		_, err := c.CreateTag(ctx, name)
		return err
	})
}

// checkAfter checks the openid after which a list begins.
func (a *app) checkAfter(after string) error {
	if after != "" && !openIDPattern.MatchString(after) {
		return usageError(fmt.Sprintf(a.tr("--after: %.60q is not an openid", "--after：%.60q 不是 openid"), after))
	}
	return nil
}

// isUnknown reports whether the error of an openid leaves it unknown whether the change was made. With any other error
// the platform has rejected the openid.
func isUnknown(err error) bool {
	e, wrong := (*wechatuser.Error)(nil), (*wechatuser.ArgumentError)(nil)
	switch {
	case errors.Is(err, wechatuser.ErrAmbiguous):
		return true
	case errors.As(err, &e):
		busy := []wechatuser.Code{wechatuser.CodeSystemBusy, wechatuser.CodeSystemBusy1, wechatuser.CodeSystemBusy2}
		return slices.Contains(busy, e.Code)
	default:
		return !errors.As(err, &wrong)
	}
}

// splitFailed returns the openids that were rejected, and those whose outcome is unknown.
func splitFailed(failed []wechatuser.OpenIDError) (rejected, unknown []wechatuser.OpenIDError) {
	for _, f := range failed {
		if isUnknown(f.Err) {
			unknown = append(unknown, f)
		} else {
			rejected = append(rejected, f)
		}
	}
	return rejected, unknown
}
