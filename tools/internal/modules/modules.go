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

// Released reports whether users may require the module. The folders of the others are in docs/versioning.md.
func (m Module) Released() bool {
	top, _, _ := strings.Cut(m.Dir, "/")
	return !slices.Contains([]string{"benchmarks", "examples", "internal", "test", "tools"}, top)
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
		if err := edit(root, &mod, "mod", "edit", "-json", file); err != nil {
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

// SetVersion makes a module require this version of all modules of the repository. Replacements stay: only a main
// module has any, and they are how the modules are developed together. Those of a go.work have a version, which follows.
func SetVersion(root string, m Module, version string) error {
	dir := filepath.Join(root, filepath.FromSlash(m.Dir))
	if len(m.Requires) > 0 {
		args := []string{"mod", "edit"}
		for _, p := range m.Requires {
			args = append(args, "-require="+p+"@"+version)
		}
		if err := edit(dir, nil, append(args, "go.mod")...); err != nil {
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
	if err := edit(dir, &work, "work", "edit", "-json", "go.work"); err != nil {
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
	return edit(dir, nil, append(args, "go.work")...)
}

func own(module string) bool { return module == Root || strings.HasPrefix(module, Root+"/") }

// edit runs a go command in the folder, and decodes what it prints.
func edit(dir string, printed any, args ...string) error {
	cmd := exec.Command("go", args...)
	var out, complaint bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s in %s: %w: %s", strings.Join(args, " "), dir, err, complaint.String())
	}
	if printed == nil {
		return nil
	}
	return json.Unmarshal(out.Bytes(), printed)
}
