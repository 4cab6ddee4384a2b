// Release prepares a release: it checks that the changelog and the version are right for what has changed, sets the
// version, and prints the commands that commit, tag and push. It changes only files of this folder, and runs no command
// that changes something elsewhere.
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

// prepare checks everything before it changes anything.
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
		return fmt.Errorf("commit or remove what has changed:\n%s", changed)
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

// setVersion sets the version in the code, and what the modules require of each other, also those that are not
// released: a module cannot require an older version than those that it requires.
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

// printCommands prints what is left to do. A module that others require gets its tag before them.
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

// git returns what a git command prints.
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
