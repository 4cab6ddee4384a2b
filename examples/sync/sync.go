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

// plan holds the changes to make.
type plan struct {
	tag         *wechatuser.Tag // nil if it does not exist
	members     int             // current number
	add, remove []string
	unchanged   int
}

// removesMajority reports whether the plan removes more than half of the members, as the wrong file would.
func (p *plan) removesMajority() bool { return 2*len(p.remove) > p.members }

// synchronize prints the plan, and applies it if cfg allows it.
func synchronize(ctx context.Context, c *wechatuser.Client, cfg config, m *members, out io.Writer) error {
	p, err := compare(ctx, c, cfg, m)
	if err != nil {
		return err
	}
	p.print(out, cfg, m)
	switch {
	case p.tag != nil && len(p.add)+len(p.remove) == 0:
		fmt.Fprintln(out, "\nNothing to do.")
		return nil
	case !cfg.apply:
		fmt.Fprintln(out, "\nDry run, nothing changed. Use -apply to apply the changes.")
		return nil
	case p.removesMajority() && !cfg.force:
		return fmt.Errorf("nothing changed: %d of %d members would be removed, more than half; use -force to allow it",
			len(p.remove), p.members)
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
		tag: &tags[i], members: report.Unchanged + len(report.ToRemove),
		add: report.ToAdd, remove: report.ToRemove, unchanged: report.Unchanged,
	}
	if cfg.keep {
		p.remove = nil
	}
	return p, nil
}

func (p *plan) print(out io.Writer, cfg config, m *members) {
	fmt.Fprintf(out, "%s has %d openids", m.file, len(m.openIDs))
	if m.duplicates > 0 {
		fmt.Fprintf(out, " and %d duplicates", m.duplicates)
	}
	if p.tag == nil {
		fmt.Fprintf(out, ". The tag %q does not exist; -apply creates it.\n\n", cfg.tag)
	} else {
		fmt.Fprintf(out, ". The tag %q has %d members.\n\n", p.tag.Name, p.members)
	}
	line := func(what string, n int, openIDs []string) {
		text := fmt.Sprintf("  %-10s %6d  %s", what, n, strings.Join(firstN(openIDs, 3), ", "))
		fmt.Fprintln(out, strings.TrimRight(text, " "))
	}
	line("to add", len(p.add), p.add)
	line("to remove", len(p.remove), p.remove)
	line("unchanged", p.unchanged, nil)
	if cfg.keep {
		line("kept", p.members-p.unchanged, nil)
	}
	if p.removesMajority() {
		fmt.Fprintf(out, "\nMore than half of the members would be removed; -apply requires -force for that.\n")
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
	fmt.Fprintf(out, "\n%d added, %d removed, %d unchanged, %d rejected. API calls: %d.\n",
		report.Added.Applied, report.Removed.Applied, report.Unchanged,
		len(report.Added.Failed)+len(report.Removed.Failed), report.Calls)
	printRejected(out, "could not be added", report.Added.Failed, m)
	printRejected(out, "could not be removed", report.Removed.Failed, m)
	return err
}

// printRejected prints the rejected openids, grouped by errcode.
func printRejected(out io.Writer, what string, failed []wechatuser.OpenIDError, m *members) {
	type reason struct {
		code wechatuser.Code // 0 if the error is not from the platform
		text string
	}
	groups := make(map[reason][]string)
	for _, f := range failed {
		key := reason{text: f.Err.Error()}
		if e := (*wechatuser.Error)(nil); errors.As(f.Err, &e) {
			key = reason{e.Code, fmt.Sprintf("%d, %s: %s", e.Code, e.Code.Meaning(), e.Code.Remedy())}
		}
		id := f.OpenID
		if line := m.lines[id]; line > 0 {
			id += fmt.Sprintf("  line %d", line)
		}
		groups[key] = append(groups[key], id)
	}
	byCode := func(a, b reason) int { return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.text, b.text)) }
	for _, key := range slices.SortedFunc(maps.Keys(groups), byCode) {
		fmt.Fprintf(out, "\n%d %s: %s\n  %s\n", len(groups[key]), what, key.text, strings.Join(groups[key], "\n  "))
	}
}
