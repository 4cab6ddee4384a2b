package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser/tools/internal/modules"
)

const apidiff = "golang.org/x/exp/cmd/apidiff@v0.0.0-20261014143641-f0251eb4aa3e"

// apiChanges holds the API changes of all packages that users import, as described by apidiff.
type apiChanges struct{ incompatible, compatible []string }

// needs returns the smallest step from the last version that allows the changes; see docs/versioning.md.
func (c apiChanges) needs(last version) step {
	switch {
	case len(c.incompatible) > 0 && last[0] > 0:
		return major
	case len(c.incompatible)+len(c.compatible) > 0:
		return minor
	}
	return patch
}

func (c apiChanges) describe(last string) string {
	var b strings.Builder
	for _, part := range []struct {
		title string
		lines []string
	}{{"Incompatible with " + last + "; the CHANGELOG shows the code before and after:", c.incompatible},
		{"New since " + last + ":", c.compatible}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(&b, "%s\n- %s\n", part.title, strings.Join(part.lines, "\n- "))
		}
	}
	if b.Len() == 0 {
		return "The API has not changed since " + last + ".\n"
	}
	return b.String()
}

// compareAPI returns the changes of the API since a tag.
func compareAPI(root, tag string, now []modules.Module) (c apiChanges, err error) {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return c, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	then := filepath.Join(dir, "then")
	absolute, err := filepath.Abs(root)
	if err != nil {
		return c, err
	}
	if _, err := git(absolute, "clone", "--quiet", "--shared", "--no-checkout", ".", then); err != nil {
		return c, err
	}
	if _, err := git(then, "checkout", "--quiet", "--detach", tag); err != nil {
		return c, err
	}
	d := differ{bin: filepath.Join(dir, "bin")}
	if err := d.install(); err != nil {
		return c, err
	}
	before, err := modules.All(then)
	if err != nil {
		return c, err
	}
	olds, err := packagesOf(then, before)
	if err != nil {
		return c, err
	}
	news, err := packagesOf(root, now)
	if err != nil {
		return c, err
	}
	for _, p := range union(olds, news) {
		switch from, to := olds[p], news[p]; {
		case to == "":
			c.incompatible = append(c.incompatible, p+": removed")
		case from == "":
			c.compatible = append(c.compatible, p+": added")
		default:
			if err := d.compare(&c, p, from, to, filepath.Join(dir, "api")); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// packagesOf returns, for each package that users can import, the folder of its module.
func packagesOf(root string, all []modules.Module) (map[string]string, error) {
	dirs := map[string]string{}
	for _, m := range all {
		if !m.Released() {
			continue
		}
		paths, err := m.Packages(root)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			dirs[p] = filepath.Join(root, filepath.FromSlash(m.Dir))
		}
	}
	return dirs, nil
}

func union(a, b map[string]string) (keys []string) {
	for _, m := range []map[string]string{a, b} {
		for k := range m {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// differ runs apidiff.
type differ struct {
	bin string
	env []string
}

// install builds apidiff with the Go version in use, whose export data it has to read, or with a newer one if apidiff
// requires it.
func (d *differ) install() error {
	settings, err := run(".", nil, "go", "env", "GOVERSION", "GOFLAGS")
	if err != nil {
		return err
	}
	lines := strings.Split(settings, "\n")
	// With -trimpath, compiled packages are cached across folders with the same files.
	d.env = []string{"GOFLAGS=" + lines[1] + " -trimpath"}
	name, _, _ := strings.Cut(lines[0], " ")
	_, err = run(".", []string{"GOBIN=" + d.bin, "GOTOOLCHAIN=" + name + "+auto"}, "go", "install", apidiff)
	return err
}

// compare adds the changes of a package between two folders of its module.
func (d *differ) compare(c *apiChanges, pkg, from, to, export string) error {
	program := filepath.Join(d.bin, "apidiff")
	if _, err := run(from, d.env, program, "-w", export, pkg); err != nil {
		return err
	}
	out, err := run(to, d.env, program, export, pkg)
	if err != nil {
		return err
	}
	into := (*[]string)(nil)
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		change, isChange := strings.CutPrefix(line, "- ")
		switch {
		case line == "Incompatible changes:":
			into = &c.incompatible
		case line == "Compatible changes:":
			into = &c.compatible
		case isChange && into != nil:
			*into = append(*into, strings.TrimPrefix(pkg, modules.Root+"/")+": "+change)
		case line != "":
			return fmt.Errorf("apidiff of %s: %s", pkg, line)
		}
	}
	return nil
}
