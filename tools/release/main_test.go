package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/tools/internal/modules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repository = "../.."

var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// full ends a test that takes more than half a minute, unless all tests run at their full size.
func full(t *testing.T) bool {
	t.Helper()
	if !testutil.Full() {
		t.Log("not without WECHATUSER_FULL=1")
	}
	return testutil.Full()
}

// The printed commands leave tags from which users can install. It releases a copy of this repository.
func TestRelease(t *testing.T) {
	if !full(t) {
		return
	}
	dir := copyRepository(t)
	addToChangelog(t, dir, "0.0.10")
	commit(t, dir, "the changelog")

	out := prepareIn(t, dir, "v0.0.10")

	assert.Contains(t, out, "The API has not changed since v0.0.9.\n")
	origin := t.TempDir()
	command(t, origin, "git", "init", "--quiet", "--bare", ".")
	command(t, dir, "git", "remote", "add", "origin", origin)
	var tags []string
	for line := range strings.Lines(out[strings.Index(out, ".ci/run\n")+len(".ci/run\n"):]) {
		line = strings.Replace(strings.TrimSpace(line), "--sign", "--annotate", 1) // without a key
		command(t, dir, "sh", "-c", line)
		if words := strings.Fields(line); words[1] == "tag" {
			tags = append(tags, words[len(words)-1])
		}
	}
	assert.Equal(t, "v0.0.10", tags[0])
	assert.Subset(t, tags, []string{"redisstore/v0.0.10", "mirror/v0.0.10", "cmd/wechatuser/v0.0.10"})
	assert.NotContains(t, strings.Join(tags, " "), "examples")
	released := t.TempDir()
	command(t, released, "git", "clone", "--quiet", "--branch", "main", origin, ".")
	assert.ElementsMatch(t, tags, strings.Fields(command(t, released, "git", "tag", "--points-at", "HEAD")))
	all, err := modules.All(released)
	require.NoError(t, err)
	for _, m := range all {
		mod := read(t, filepath.Join(released, m.Dir, "go.mod"))
		for _, path := range m.Requires {
			assert.Contains(t, mod, path+" v0.0.10\n", "%s", m.Dir)
		}
		assert.Equal(t, len(m.Requires) > 0 && m.Dir != "cmd/wechatuser", strings.Contains(mod, "\nreplace "),
			"%s is developed as before", m.Dir)
	}
	work := read(t, filepath.Join(released, "cmd/wechatuser/go.work"))
	assert.Contains(t, work, modules.Root+" v0.0.10 => ../..\n")
	assert.Contains(t, work, modules.Root+"/mirror v0.0.10 => ../../mirror\n")
	install(t, released)
}

// install does what users do, and asks the programs for their version.
func install(t *testing.T, released string) {
	proxy, program := t.TempDir(), t.TempDir()
	command(t, repository, "go", "run", "./tools/modproxy", "-root", released, "-version", "v0.0.10", proxy)
	cache := strings.TrimSpace(command(t, repository, "go", "env", "GOMODCACHE"))
	others := strings.TrimSpace(command(t, repository, "go", "env", "GOPROXY"))
	t.Setenv("GOPROXY", "file://"+proxy+",file://"+cache+"/cache/download,"+others)
	t.Setenv("GOSUMDB", "off")
	t.Setenv("GOFLAGS", "-modcacherw -trimpath")
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOBIN", filepath.Join(program, "bin"))
	command(t, program, "go", "mod", "init", "example.com/program")
	command(t, program, "go", "get", modules.Root, modules.Root+"/redisstore")
	write(t, filepath.Join(program, "main.go"), fmt.Sprintf(`package main

import (
	"fmt"

	%q
	_ %q
)

func main() { fmt.Println(wechatuser.Version) }
`, modules.Root, modules.Root+"/redisstore"))
	assert.Equal(t, "0.0.10\n", command(t, program, "go", "run", "."))
	command(t, program, "go", "install", modules.Root+"/cmd/wechatuser@latest")
	assert.Equal(t, "wechatuser v0.0.10\n", command(t, program, "bin/wechatuser", "--version"))
}

// An incompatible change needs a minor version before v1.0.0. A refused release changes nothing.
func TestReleaseWithAnIncompatibleChange(t *testing.T) {
	if !full(t) {
		return
	}
	dir := smallRepository(t)
	options := filepath.Join(dir, "redisstore", "api.go")
	write(t, options, "package redisstore\n\n// Old is removed.\nfunc Old() {}\n")
	commit(t, dir, "an API")
	command(t, dir, "git", "tag", "v0.0.10")
	write(t, options, "package redisstore\n\n// New is added.\nfunc New2() {}\n")
	addToChangelog(t, dir, "0.0.11")
	commit(t, dir, "a change")
	var out strings.Builder

	err := prepare(dir, "v0.0.11", today, &out)

	assert.EqualError(t, err, "v0.0.11 is a patch version, and these changes need a minor version")
	assert.Contains(t, out.String(), "- redisstore: Old: removed\n")
	assert.Contains(t, out.String(), "- redisstore: New2: added\n")
	assert.Empty(t, command(t, dir, "git", "status", "--porcelain"))
	changelog := filepath.Join(dir, "CHANGELOG.md")
	write(t, changelog, strings.Replace(read(t, changelog), "[0.0.11]", "[0.1.0]", 1))
	assert.ErrorContains(t, prepare(dir, "v0.1.0", today, &out), "there are uncommitted changes; commit or remove them:\n M CHANGELOG.md")
	commit(t, dir, "the right version")
	assert.ErrorContains(t, prepare(dir, "v0.0.11", today, &out), "the heading after [Unreleased] is [0.1.0]")
	prepareIn(t, dir, "v0.1.0")
	assert.Contains(t, read(t, filepath.Join(dir, "version.go")), "\nconst release = \"0.1.0\"\n")
}

func TestWhatChangesNeed(t *testing.T) {
	added, removed := apiChanges{compatible: []string{"A"}}, apiChanges{incompatible: []string{"A"}}
	for _, test := range []struct {
		changes apiChanges
		last    version
		want    step
	}{
		{apiChanges{}, version{0, 3, 4}, patch},
		{apiChanges{}, version{1, 3, 4}, patch},
		{added, version{0, 3, 4}, minor},
		{added, version{1, 3, 4}, minor},
		{removed, version{0, 3, 4}, minor},
		{removed, version{1, 3, 4}, major},
	} {
		assert.Equal(t, test.want, test.changes.needs(test.last), "%+v", test)
	}
}

func TestVersionsFollow(t *testing.T) {
	last := latest([]string{"v0.9.0", "v0.10.2", "v0.10.1", "v2", "vx", "v0.11.0-rc.1", "redisstore/v0.12.0"})
	assert.Equal(t, "v0.10.2", last.String())
	for name, want := range map[string]step{"v0.10.3": patch, "v0.11.0": minor, "v1.0.0": major} {
		next, err := parseVersion(name)
		require.NoError(t, err)
		got, err := last.stepTo(next)
		assert.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	for _, name := range []string{"v0.10.2", "v0.10.4", "v0.11.1", "v0.12.0", "v1.1.0", "v0.10.1"} {
		next, err := parseVersion(name)
		require.NoError(t, err)
		_, err = last.stepTo(next)
		assert.EqualError(t, err, name+" does not follow v0.10.2, the last release")
	}
	for _, name := range []string{"", "0.1.0", "v0.1", "v0.1.0-rc.1", "v0.01.0", "v0.1.0 ", "v0.-1.0", "v2.0.0"} {
		_, err := parseVersion(name)
		assert.Error(t, err, name)
	}
	_, err := latest(nil).stepTo(version{0, 1, 0})
	assert.NoError(t, err, "the first release")
}

func TestCheckChangelog(t *testing.T) {
	const unreleased = "# Changelog\n\n## [Unreleased]\n"
	for want, text := range map[string]string{
		"": unreleased + "\n## [0.2.0] - 2026-11-28\n\n### Added\n\n- A\n\n## [0.1.0] - 2026-01-01\n",
		"the first two headings must be ## [Unreleased] and that of the version": unreleased,
		"the first heading is [0.2.0] instead of [Unreleased]": "## [0.2.0] - 2026-11-28\n" +
			"- A\n## [0.1.0]\n",
		"[Unreleased] is not empty: move it below a heading ## [0.2.0] - 2026-11-28": unreleased +
			"- A\n## [0.1.0] - 2026-01-01\n- A\n",
		"the heading after [Unreleased] is [0.1.0] instead of [0.2.0]": unreleased +
			"## [0.1.0] - 2026-01-01\n- A\n",
		"v0.2.0 has no date": unreleased + "## [0.2.0]\n- A\n",
		"the date of v0.2.0 is 2026-12-28, which is in the future": unreleased + "## [0.2.0] - 2026-12-28\n- A\n",
		"v0.2.0 has no lines": unreleased + "## [0.2.0] - 2026-11-28\n\n## [0.1.0]\n- A\n",
	} {
		err := checkChangelog(text, version{0, 2, 0}, today)
		if want == "" {
			assert.NoError(t, err)
			continue
		}
		assert.EqualError(t, err, want)
	}
	err := checkChangelog("## [Unreleased]\n\n## [0.2.0] - soon\n- A\n", version{0, 2, 0}, today)
	assert.ErrorContains(t, err, "the date of v0.2.0: parsing time")
}

// copyRepository returns a repository with the files of this one, committed or not, and the tag v0.0.9.
func copyRepository(t *testing.T) string {
	t.Helper()
	files, err := modules.Files(repository)
	require.NoError(t, err)
	dir := t.TempDir()
	for _, file := range files {
		write(t, filepath.Join(dir, file), read(t, filepath.Join(repository, file)))
	}
	initRepository(t, dir)
	return dir
}

// smallRepository returns a repository with one module of each kind, and the tag v0.0.9.
func smallRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mod := func(name string, lines ...string) string {
		return "module " + modules.Root + name + "\n\ngo 1.25.0\n\n" + strings.Join(lines, "\n") + "\n"
	}
	require := "require " + modules.Root
	program := fmt.Sprintf("package main\n\nimport (\n\t\"fmt\"\n\n\t%q\n)\n\n"+
		"func main() { fmt.Println(\"wechatuser v\" + wechatuser.Version) }\n", modules.Root)
	for name, text := range map[string]string{
		"CHANGELOG.md":      "# Changelog\n\n## [Unreleased]\n",
		"go.mod":            mod(""),
		"version.go":        read(t, filepath.Join(repository, "version.go")),
		"tools/codes.go":    "package tools\n",
		"redisstore/go.mod": mod("/redisstore", require+" v0.0.0", "replace "+modules.Root+" => ../"),
		"redisstore/store.go": fmt.Sprintf(
			"package redisstore\n\nimport %q\n\n// V is a string.\nvar V = wechatuser.Version\n", modules.Root),
		"mirror/go.mod": mod("/mirror", require+" v0.0.0", "replace "+modules.Root+" => ../"),
		"mirror/mirror.go": fmt.Sprintf(
			"package mirror\n\nimport %q\n\n// V is a string.\nvar V = wechatuser.Version\n", modules.Root),
		"cmd/wechatuser/go.mod": mod("/cmd/wechatuser", require+" v0.0.1", require+"/mirror v0.0.1"),
		"cmd/wechatuser/go.work": "go 1.25.0\n\nuse (\n\t.\n\t../..\n\t../../mirror\n)\n\nreplace (\n\t" + modules.Root +
			" v0.0.1 => ../..\n\t" + modules.Root + "/mirror v0.0.1 => ../../mirror\n)\n",
		"cmd/wechatuser/main.go": strings.Replace(program, "\n)", fmt.Sprintf("\n\t_ %q\n)", modules.Root+"/mirror"), 1),
		"examples/go.mod": mod("/examples", require+" v0.0.0", require+"/redisstore v0.0.0", "replace (",
			"\t"+modules.Root+" => ../", "\t"+modules.Root+"/redisstore => ../redisstore", ")"),
		"examples/main.go": program,
	} {
		write(t, filepath.Join(dir, name), text)
	}
	initRepository(t, dir)
	return dir
}

func initRepository(t *testing.T, dir string) {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_SYSTEM", os.DevNull)
	command(t, dir, "git", "init", "--quiet", "--initial-branch", "main")
	command(t, dir, "git", "config", "user.name", "maintainer")
	command(t, dir, "git", "config", "user.email", "maintainer@example.com")
	commit(t, dir, "all")
	command(t, dir, "git", "tag", "v0.0.9")
}

// addToChangelog makes what is unreleased a version.
func addToChangelog(t *testing.T, dir, number string) {
	t.Helper()
	const heading = "## [Unreleased]\n"
	file := filepath.Join(dir, "CHANGELOG.md")
	text := read(t, file)
	before, after, ok := strings.Cut(text, heading)
	require.True(t, ok)
	write(t, file, before+heading+"\n## ["+number+"] - "+today.Format(time.DateOnly)+"\n\n- A line.\n"+after)
}

func prepareIn(t *testing.T, dir, version string) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, prepare(dir, version, today, &out), out.String())
	return out.String()
}

func commit(t *testing.T, dir, message string) {
	t.Helper()
	command(t, dir, "git", "add", "--all")
	command(t, dir, "git", "commit", "--quiet", "--message", message)
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := run(dir, nil, name, args...)
	require.NoError(t, err)
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}
