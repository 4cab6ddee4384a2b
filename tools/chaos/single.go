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
	scribble = "scribble " // begins the remarks that are changed
	scratch  = "scratch "  // and the tags that come and go
)

// single makes calls that are no job's, until the storm is over: tags come and go, and remarks change. After each the
// account must be what the error says.
func (w *worker) single() {
	for n := 0; w.gate.storm.Load(); n++ {
		w.tidy()
		name := fmt.Sprint(scratch, n)
		if id := w.createTag(name); id != 0 {
			if w.updateTag(id, name, name+"b") {
				name += "b"
			}
			w.deleteTag(id, name)
		}
		w.remark(w.people.fans[w.rng.IntN(fewestFans)], fmt.Sprint(scribble, n))
	}
	<-w.calm
	w.tidy()
}

// tidy takes away what is left over.
func (w *worker) tidy() {
	for _, tag := range w.account.Tags() {
		if strings.HasPrefix(tag.Name, scratch) {
			w.deleteTag(tag.ID, tag.Name)
		}
	}
}

// call makes a call and checks that the account is what its error says. It gives whether the call was carried out.
func (w *worker) call(name string, do func(context.Context, *wechatuser.Client) error, done func() bool) bool {
	w.began(name, 1)
	var err error
	w.once(func(ctx context.Context, c *wechatuser.Client, _ *task) { err = do(ctx, c) })
	is := done()
	switch {
	case err == nil && !is:
		w.note(&w.lost, 1, "%s: said to be done, and it is not", name)
	case err != nil && is && !errors.Is(err, wechatuser.ErrAmbiguous):
		w.note(&w.doubled, 1, "%s: said to have failed for sure, and it is done: %v", name, err)
	}
	if err != nil {
		w.resume(name, err)
	}
	return is
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
		w.isWrong("CreateTag: it gave tag %d %q, and the account has %d %q", tag.ID, tag.Name, id, name)
	}
	return id
}

func (w *worker) updateTag(id int, from, to string) bool {
	return w.call("UpdateTag", func(ctx context.Context, c *wechatuser.Client) error {
		return c.UpdateTag(ctx, id, to)
	}, func() bool {
		tags := w.account.Tags()
		if !slices.ContainsFunc(tags, func(t wechatuser.Tag) bool { return t.ID == id && (t.Name == from || t.Name == to) }) {
			w.isWrong("UpdateTag: tag %d is gone", id)
		}
		return slices.ContainsFunc(tags, func(t wechatuser.Tag) bool { return t.ID == id && t.Name == to })
	})
}

func (w *worker) deleteTag(id int, name string) bool {
	return w.call("DeleteTag", func(ctx context.Context, c *wechatuser.Client) error {
		return c.DeleteTag(ctx, id)
	}, func() bool {
		return !slices.ContainsFunc(w.account.Tags(), func(t wechatuser.Tag) bool { return t.ID == id || t.Name == name })
	})
}

func (w *worker) remark(openID, text string) {
	w.call("UpdateRemark", func(ctx context.Context, c *wechatuser.Client) error {
		return c.UpdateRemark(ctx, openID, text)
	}, func() bool {
		user, _ := w.account.User(openID)
		return user.Remark == text
	})
}
