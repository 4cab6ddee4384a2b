// Release prepares a release. It checks the changelog, and whether the changes of the API allow the version; it sets
// the version in all modules, and prints the commands that commit, tag and push. It changes only files in the working
// tree, and nothing remote.
//
//	go run ./tools/release v0.2.0
//
// All modules are released together, with one version and on one commit.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/tools/internal/modules"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./tools/release v0.2.0")
		os.Exit(2)
	}
	if err := prepare(".", os.Args[1], time.Now(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// prepare runs all checks, then sets the version, and prints the remaining commands.
func prepare(root, name string, now time.Time, out io.Writer) error {
	next, err := parseVersion(name)
	if err != nil {
		return err
	}
	changed, err := git(root, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("there are uncommitted changes; commit or remove them:\n%s", changed)
	}
	tags, err := git(root, "tag", "--list", "v*", "--merged", "HEAD")
	if err != nil {
		return err
	}
	last := latest(strings.Fields(tags))
	allowed, err := last.stepTo(next)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if err := checkChangelog(string(text), next, now); err != nil {
		return fmt.Errorf("CHANGELOG.md: %w", err)
	}
	all, err := modules.All(root)
	if err != nil {
		return err
	}
	if last == nil {
		fmt.Fprintln(out, "The first release: there is no API to compare with.")
	} else {
		changes, err := compareAPI(root, last.String(), all)
		if err != nil {
			return err
		}
		fmt.Fprint(out, changes.describe(last.String()))
		if needed := changes.needs(*last); allowed < needed {
			return fmt.Errorf("%s is a %s, and these changes need a %s", next, allowed, needed)
		}
	}
	if err := setVersion(root, next, all); err != nil {
		return err
	}
	return printCommands(root, next, all, out)
}

var constant = regexp.MustCompile(`(?m)^const release = ".*"$`)

// setVersion sets the version in version.go, and the versions with which the modules require each other. This includes
// modules that are not released, because a module cannot require an older version than its dependencies do.
func setVersion(root string, next version, all []modules.Module) error {
	file := filepath.Join(root, "version.go")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if len(constant.FindAll(text, -1)) != 1 {
		return errors.New("version.go has no line: const release")
	}
	number := strings.TrimPrefix(next.String(), "v")
	text = constant.ReplaceAll(text, []byte(`const release = "`+number+`"`))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	for _, m := range all {
		if err := modules.SetVersion(root, m, next.String()); err != nil {
			return err
		}
	}
	return nil
}

// printCommands prints the remaining commands. A module is tagged before the modules that require it.
func printCommands(root string, next version, all []modules.Module, out io.Writer) error {
	changed, err := git(root, "status", "--porcelain")
	if err != nil {
		return err
	}
	branch, err := git(root, "branch", "--show-current")
	if err != nil {
		return err
	}
	fmt.Fprint(out, "\nNext:\n\n.ci/run\n")
	if changed != "" {
		fmt.Fprintf(out, "git commit --all --message 'Release %s'\n", next)
	}
	refs := []string{strings.TrimSpace(branch)}
	for _, m := range all {
		if m.Released() {
			tag := m.Tag(next.String())
			fmt.Fprintf(out, "git tag --sign --message %s %s\n", tag, tag)
			refs = append(refs, tag)
		}
	}
	fmt.Fprintf(out, "git push --atomic origin %s\n", strings.Join(refs, " "))
	return nil
}

// git runs a git command and returns its output.
func git(dir string, args ...string) (string, error) { return run(dir, nil, "git", args...) }

func run(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var complaint bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(slices.Clip(os.Environ()), env...), &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, out, complaint.String())
	}
	return string(out), nil
}
