package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser"
)

const (
	remarkPrefix = "scribble " // of remarks that makeCalls writes
	tagPrefix    = "scratch "  // of tags that makeCalls creates
)

// makeCalls makes single calls until the faults end: it creates, renames and deletes tags, and changes remarks. After
// each call the account must match the call's error.
func (w *worker) makeCalls() {
	for n := 0; w.gateway.active.Load(); n++ {
		w.deleteLeftTags()
		name := fmt.Sprint(tagPrefix, n)
		if id := w.createTag(name); id != 0 {
			if w.updateTag(id, name, name+"b") {
				name += "b"
			}
			w.deleteTag(id, name)
		}
		w.updateRemark(w.population.fans[w.rng.IntN(minFans)], fmt.Sprint(remarkPrefix, n))
	}
	<-w.faultEnd
	w.deleteLeftTags()
}

// deleteLeftTags deletes the tags that earlier calls failed to delete.
func (w *worker) deleteLeftTags() {
	for _, tag := range w.account.Tags() {
		if strings.HasPrefix(tag.Name, tagPrefix) {
			w.deleteTag(tag.ID, tag.Name)
		}
	}
}

// call makes a call and checks that the account matches its error. It returns whether the call was applied, which
// isApplied reads from the account.
func (w *worker) call(
	name string, do func(context.Context, *wechatuser.Client) error, isApplied func() bool,
) (applied bool) {
	w.jobStarted(name, 1)
	var err error
	w.runOnce(func(ctx context.Context, c *wechatuser.Client, _ *jobRun) { err = do(ctx, c) })
	applied = isApplied()
	switch {
	case err == nil && !applied:
		w.add(&w.lost, 1, "%s: returned nil, and was not applied", name)
	case err != nil && applied && !errors.Is(err, wechatuser.ErrAmbiguous):
		w.add(&w.unexpected, 1, "%s: applied, and its error is not ambiguous: %v", name, err)
	}
	if err != nil {
		w.waitToResume(name, err)
	}
	return applied
}

func (w *worker) createTag(name string) (id int) {
	find := func() int {
		i := slices.IndexFunc(w.account.Tags(), func(t wechatuser.Tag) bool { return t.Name == name })
		if i < 0 {
			return 0
		}
		return w.account.Tags()[i].ID
	}
	var tag *wechatuser.Tag
	w.call("CreateTag", func(ctx context.Context, c *wechatuser.Client) (err error) {
		tag, err = c.CreateTag(ctx, name)
		return err
	}, func() bool { return find() != 0 })
	if id = find(); tag != nil && (tag.ID != id || tag.Name != name) {
		w.addMismatch("CreateTag: returned tag %d %q, the account has %d %q", tag.ID, tag.Name, id, name)
	}
	return id
}

func (w *worker) updateTag(id int, from, to string) bool {
	return w.call("UpdateTag", func(ctx context.Context, c *wechatuser.Client) error {
		return c.UpdateTag(ctx, id, to)
	}, func() bool {
		tags := w.account.Tags()
		has := func(name string) bool {
			return slices.ContainsFunc(tags, func(t wechatuser.Tag) bool { return t.ID == id && t.Name == name })
		}
		if !has(from) && !has(to) {
			w.addMismatch("UpdateTag: tag %d is missing", id)
		}
		return has(to)
	})
}

func (w *worker) deleteTag(id int, name string) bool {
	return w.call("DeleteTag", func(ctx context.Context, c *wechatuser.Client) error {
		return c.DeleteTag(ctx, id)
	}, func() bool {
		tags := w.account.Tags()
		return !slices.ContainsFunc(tags, func(t wechatuser.Tag) bool { return t.ID == id || t.Name == name })
	})
}

func (w *worker) updateRemark(openID, text string) {
	w.call("UpdateRemark", func(ctx context.Context, c *wechatuser.Client) error {
		return c.UpdateRemark(ctx, openID, text)
	}, func() bool {
		user, _ := w.account.User(openID)
		return user.Remark == text
	})
}
