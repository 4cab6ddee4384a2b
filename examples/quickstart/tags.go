package main

import (
	"context"
	"errors"

	"github.com/wechatuser/wechatuser"
)

func (t tour) tags(ctx context.Context, first []string) error {
	t.title("3. Tags: c.CreateTag, c.BulkTagging, c.GetTags")
	if !t.write || len(first) == 0 {
		return t.listTags(ctx)
	}
	return t.withTag(ctx, "quickstart", func(tag *wechatuser.Tag) error {
		report, err := t.c.BulkTagging(ctx, tag.ID, wechatuser.OpenIDs(first...))
		if err != nil {
			return err
		}
		t.printf("created tag %d %q and tagged %d followers (API calls: %d)", tag.ID, tag.Name, report.Applied, report.Calls)
		return t.listTags(ctx)
	})
}

func (t tour) listTags(ctx context.Context) error {
	tags, err := t.c.GetTags(ctx)
	for _, tag := range tags {
		t.printf("%6d  %s, %d followers", tag.ID, tag.Name, tag.Count)
	}
	return err
}

// withTag creates a tag, calls use with it and deletes it, even if use fails.
func (t tour) withTag(ctx context.Context, name string, use func(*wechatuser.Tag) error) error {
	tag, err := t.c.CreateTag(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(use(tag), t.c.DeleteTag(context.WithoutCancel(ctx), tag.ID))
}
