// Package modules finds the modules of this repository and sets the version that they require of each other.
package modules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Root is the path of the root module. The paths of the others begin with it.
const Root = "github.com/wechatuser/wechatuser"

// Module is a module of the repository.
type Module struct {
	Dir      string   // relative to the root, with slashes; "." is the root
	Path     string   // its import path
	Requires []string // the modules of the repository that it requires, by path
}

// ours are the folders that are not for users: docs/versioning.md.
var ours = []string{"benchmarks", "examples", "internal", "test", "tools"}

// Released reports whether users may require the module.
func (m Module) Released() bool {
	return !slices.ContainsFunc(strings.Split(m.Dir, "/"), func(name string) bool { return slices.Contains(ours, name) })
}

// Packages returns the packages of the module that users may import, by path. A program has none.
func (m Module) Packages(root string) (paths []string, err error) {
	list, err := run(filepath.Join(root, filepath.FromSlash(m.Dir)), "list", "-f",
		`{{if ne .Name "main"}}{{.ImportPath}}{{end}}`, "./...")
	if err != nil {
		return nil, err
	}
	for path := range strings.FieldsSeq(string(list)) {
		below := strings.Split(strings.TrimPrefix(path, Root), "/")
		if !slices.ContainsFunc(below, func(name string) bool { return slices.Contains(ours, name) }) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// Tag returns the tag of a release of the module.
func (m Module) Tag(version string) string {
	if m.Dir == "." {
		return version
	}
	return m.Dir + "/" + version
}

// All returns the modules that git knows in the folder, committed or not: first those that require none that follows.
func All(root string) (all []Module, err error) {
	files, err := Files(root)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if path.Base(file) != "go.mod" {
			continue
		}
		m := Module{Dir: path.Dir(file)}
		var mod struct {
			Module  struct{ Path string }
			Require []struct{ Path string }
		}
		if err := read(root, &mod, "mod", "edit", "-json", file); err != nil {
			return nil, err
		}
		m.Path = mod.Module.Path
		for _, r := range mod.Require {
			if own(r.Path) {
				m.Requires = append(m.Requires, r.Path)
			}
		}
		all = append(all, m)
	}
	return sorted(all)
}

// sorted returns the modules in an order in which each follows those that it requires.
func sorted(all []Module) (order []Module, err error) {
	slices.SortFunc(all, func(a, b Module) int { return strings.Compare(a.Dir, b.Dir) })
	done := map[string]bool{}
	for len(order) < len(all) {
		i := slices.IndexFunc(all, func(m Module) bool {
			return !done[m.Path] && !slices.ContainsFunc(m.Requires, func(p string) bool { return !done[p] })
		})
		if i < 0 {
			return nil, errors.New("modules require each other in a cycle, or one that is not in the repository")
		}
		order, done[all[i].Path] = append(order, all[i]), true
	}
	return order, nil
}

// Files returns the files in the folder that git knows or does not ignore, relative to it, with slashes. Links are left
// out.
func Files(dir string) (files []string, err error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	list, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files in %s: %w", dir, err)
	}
	for name := range strings.SplitSeq(string(list), "\x00") {
		info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case name == "", errors.Is(err, fs.ErrNotExist): // removed, and not committed yet
		case err != nil:
			return nil, err
		case info.Mode().IsRegular():
			files = append(files, name)
		}
	}
	return files, nil
}

// SetVersion makes a module require this version of all modules of the repository. Replacements stay: they count only
// in the main module, and they are how the modules are developed together. Those of a go.work have a version, which
// follows.
func SetVersion(root string, m Module, version string) error {
	dir := filepath.Join(root, filepath.FromSlash(m.Dir))
	if len(m.Requires) > 0 {
		args := []string{"mod", "edit"}
		for _, p := range m.Requires {
			args = append(args, "-require="+p+"@"+version)
		}
		if _, err := run(dir, append(args, "go.mod")...); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "go.work")); err != nil {
		return nil
	}
	var work struct {
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
	}
	if err := read(dir, &work, "work", "edit", "-json", "go.work"); err != nil {
		return err
	}
	args := []string{"work", "edit"}
	for _, r := range work.Replace {
		if own(r.Old.Path) {
			args = append(args, "-dropreplace="+r.Old.Path+"@"+r.Old.Version,
				"-replace="+r.Old.Path+"@"+version+"="+r.New.Path)
		}
	}
	if len(args) == 2 {
		return nil
	}
	_, err := run(dir, append(args, "go.work")...)
	return err
}

func own(module string) bool { return module == Root || strings.HasPrefix(module, Root+"/") }

// read decodes the JSON that a go command prints.
func read(dir string, printed any, args ...string) error {
	out, err := run(dir, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, printed)
}

// run returns what a go command prints.
func run(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	var complaint bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w: %s", strings.Join(args, " "), dir, err, complaint.String())
	}
	return out, nil
}
