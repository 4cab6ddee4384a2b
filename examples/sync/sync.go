package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// plan is what there is to do.
type plan struct {
	tag         *wechatuser.Tag // nil if there is none yet
	has         int             // members
	add, remove []string
	unchanged   int
}

// tooMuch reports whether the plan takes the tag off more than half of its members, as a file that is not the right one
// would.
func (p *plan) tooMuch() bool { return 2*len(p.remove) > p.has }

// synchronize says what there is to do, and does it if it may.
func synchronize(ctx context.Context, c *wechatuser.Client, cfg config, m *members, out io.Writer) error {
	p, err := compare(ctx, c, cfg, m)
	if err != nil {
		return err
	}
	p.print(out, cfg, m)
	switch {
	case p.tag != nil && len(p.add)+len(p.remove) == 0:
		fmt.Fprintln(out, "\nThere is nothing to do.")
		return nil
	case !cfg.apply:
		fmt.Fprintln(out, "\nNothing was changed. To change it, give -apply.")
		return nil
	case p.tooMuch() && !cfg.force:
		return fmt.Errorf("nothing was changed: %d of %d members are more than half; if they are to go, give -force", len(p.remove), p.has)
	}
	return p.apply(ctx, c, cfg, m, out)
}

func compare(ctx context.Context, c *wechatuser.Client, cfg config, m *members) (*plan, error) {
	tags, err := c.GetTags(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(tags, func(t wechatuser.Tag) bool { return t.Name == cfg.tag })
	if i < 0 {
		return &plan{add: m.openIDs}, nil
	}
	report, err := c.SyncTag(ctx, tags[i].ID, wechatuser.OpenIDs(m.openIDs...), wechatuser.WithDryRun())
	if err != nil {
		return nil, err
	}
	p := &plan{
		tag: &tags[i], has: report.Unchanged + len(report.ToRemove),
		add: report.ToAdd, remove: report.ToRemove, unchanged: report.Unchanged,
	}
	if cfg.keep {
		p.remove = nil
	}
	return p, nil
}

func (p *plan) print(out io.Writer, cfg config, m *members) {
	fmt.Fprintf(out, "%s names %d openids", m.file, len(m.openIDs))
	if m.doubles > 0 {
		fmt.Fprintf(out, ", and %d of them again", m.doubles)
	}
	if p.tag == nil {
		fmt.Fprintf(out, ". There is no tag %q: -apply makes it.\n\n", cfg.tag)
	} else {
		fmt.Fprintf(out, ". The tag %q has %d members.\n\n", p.tag.Name, p.has)
	}
	line := func(what string, n int, openIDs []string) {
		text := fmt.Sprintf("  %-10s %6d  %s", what, n, strings.Join(few(openIDs, 3), ", "))
		fmt.Fprintln(out, strings.TrimRight(text, " "))
	}
	line("to add", len(p.add), p.add)
	line("to remove", len(p.remove), p.remove)
	line("unchanged", p.unchanged, nil)
	if cfg.keep {
		line("kept", p.has-p.unchanged, nil)
	}
	if p.tooMuch() {
		fmt.Fprintf(out, "\nMore than half of the members would be removed: -apply does that only with -force.\n")
	}
}

func (p *plan) apply(ctx context.Context, c *wechatuser.Client, cfg config, m *members, out io.Writer) error {
	tag := p.tag
	if tag == nil {
		var err error
		if tag, err = c.EnsureTag(ctx, cfg.tag); err != nil {
			return err
		}
	}
	var opts []wechatuser.SyncOption
	if cfg.keep {
		opts = append(opts, wechatuser.WithoutRemoval())
	}
	report, err := c.SyncTag(ctx, tag.ID, wechatuser.OpenIDs(m.openIDs...), opts...)
	fmt.Fprintf(out, "\n%d added, %d removed, %d unchanged, %d refused, %d calls.\n",
		report.Added.Applied, report.Removed.Applied, report.Unchanged, len(report.Added.Failed)+len(report.Removed.Failed), report.Calls)
	printRefused(out, "could not be added", report.Added.Failed, m)
	printRefused(out, "could not be removed", report.Removed.Failed, m)
	return err
}

// printRefused names the openids that were refused, those of one errcode together.
func printRefused(out io.Writer, what string, failed []wechatuser.OpenIDError, m *members) {
	type reason struct {
		code wechatuser.Code // 0 for an error that is not the platform's
		text string
	}
	groups := make(map[reason][]string)
	for _, f := range failed {
		why := reason{text: f.Err.Error()}
		if e := (*wechatuser.Error)(nil); errors.As(f.Err, &e) {
			why = reason{e.Code, fmt.Sprintf("%d, %s: %s", e.Code, e.Code.Meaning(), e.Code.Remedy())}
		}
		id := f.OpenID
		if line := m.lines[id]; line > 0 {
			id += fmt.Sprintf("  line %d", line)
		}
		groups[why] = append(groups[why], id)
	}
	byCode := func(a, b reason) int { return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.text, b.text)) }
	for _, why := range slices.SortedFunc(maps.Keys(groups), byCode) {
		fmt.Fprintf(out, "\n%d %s: %s\n  %s\n", len(groups[why]), what, why.text, strings.Join(groups[why], "\n  "))
	}
}
