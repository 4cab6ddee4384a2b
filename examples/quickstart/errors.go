package main

import (
	"context"
	"errors"

	"github.com/wechatuser/wechatuser"
)

func (t tour) invalidOpenIDs(ctx context.Context, first []string) error {
	t.title("6. The error for an openid that does not follow the account")
	_, err := t.c.GetUserInfo(ctx, t.invalidOpenID)
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
		t.printf("code     %d, matches CodeInvalidOpenID: %v", e.Code, errors.Is(err, wechatuser.CodeInvalidOpenID))
		t.printf("meaning  %s", e.Code.Meaning())
		t.printf("含义     %s", e.Code.MeaningZH())
		t.printf("remedy   %s", e.Remedy())
		t.printf("rid      %s", e.RID)
		t.printf("error    %v", e)
	} else if err != nil {
		return err
	}
	if !t.write || len(first) == 0 {
		return nil
	}
	t.title("7. The same openid among valid ones: c.BulkTagging")
	return t.withTag(ctx, "quickstart bulk", func(tag *wechatuser.Tag) error {
		report, err := t.c.BulkTagging(ctx, tag.ID, wechatuser.OpenIDs(append(first, t.invalidOpenID)...))
		if report == nil {
			return err
		}
		t.printf("%d of %d tagged (API calls: %d)", report.Applied, report.Total, report.Calls)
		for _, failed := range report.Failed {
			t.printf("rejected: %v", &failed)
		}
		return nil
	})
}
