package project

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil"
)

// moduleRoot is the folder of the module, as seen from this one.
const moduleRoot = "../.."

// All links within the repository lead to a file, and to a heading if they name one.
func TestLinksOfTheDocs(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	names := documents(t)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(match[1], ":") {
				continue
			}
			path, anchor, _ := strings.Cut(match[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), filepath.FromSlash(path))
			}
			if _, err := os.Stat(target); err != nil {
				assert.Fail(t, "broken link", "%s links to %s", name, match[1])
			} else if anchor != "" {
				assert.Contains(t, anchors(t, target), anchor, "%s links to %s", name, match[1])
			}
		}
	}
	assert.Greater(t, len(names), 10, "the check saw the documents")
}

// The console for secrets, whitelists, permissions and quotas has moved from mp.weixin.qq.com, where the notices of an
// account stayed: https://developers.weixin.qq.com/doc/service/guide/dev/migration.html. Nothing sends a reader there
// for anything else. Nor is a size of the pages of the blacklist promised, about which the platform's pages disagree.
func TestTextsFollowThePlatform(t *testing.T) {
	names := documents(t)
	sources, err := filepath.Glob(filepath.Join(moduleRoot, "*.go"))
	require.NoError(t, err)
	examples, err := filepath.Glob(filepath.Join(moduleRoot, "examples", "*", "*.go"))
	require.NoError(t, err)
	notices := regexp.MustCompile("notices|irregularities|Notices|通知|封禁|debug/cgi-bin/sandbox")
	for _, name := range slices.Concat(names, sources, examples) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			toConsole := strings.Contains(line, "mp.weixin.qq.com") && !notices.MatchString(line)
			assert.False(t, toConsole, "%s: %s", name, line)
		}
	}
	text, err := os.ReadFile(filepath.Join(moduleRoot, "blacklist.go"))
	require.NoError(t, err)
	assert.NotContains(t, string(text), "1,000")
}

// documents returns all Markdown files of the repository.
func documents(t *testing.T) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(moduleRoot, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "node_modules", "testdata"}, entry.Name()):
			return fs.SkipDir
		case filepath.Ext(name) == ".md":
			names = append(names, name)
		}
		return nil
	}))
	return names
}

// anchors returns the anchors of a document as GitHub names them.
func anchors(t *testing.T, name string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	for _, match := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(string(text), -1) {
		found = append(found, match[1])
	}
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		found = append(found, strings.Map(func(r rune) rune {
			switch {
			case r == ' ' || r == '-':
				return '-'
			case r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1]))
	}
	return found
}

// given declares the names that Go blocks may use without declaring them.
const given = `package doc

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"testing"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
)

var (
	handler               http.Handler
	ctx                   context.Context
	t                     *testing.T
	logger                *slog.Logger
	c                     *wechatuser.Client
	limiter               wechatuser.Limiter
	appID, secret, openID string
	tagID, oldTagID       int
	addrs, openIDs        []string
	list                  iter.Seq2[string, error]
	report                *wechatuser.BulkReport
	err                   error

	platform      *authorizer.Platform
	account, code string // of an account that authorizes it
)
`

var ofGiven = []string{
	"context", "iter", "log/slog", "net/http", "testing", "github.com/wechatuser/wechatuser",
	"github.com/wechatuser/wechatuser/authorizer",
}

// packages are those that Go blocks may use without an import.
var packages = []string{
	"cmp", "context", "encoding/json", "encoding/xml", "errors", "fmt", "io", "iter", "log", "log/slog", "net/http",
	"net/http/httptest",
	"os", "slices", "strings", "sync", "sync/atomic", "testing", "testing/synctest", "time",
	"github.com/jarcoal/httpmock", "github.com/stretchr/testify/assert", "github.com/stretchr/testify/require",
	"github.com/wechatuser/wechatuser", "github.com/wechatuser/wechatuser/accounts",
	"github.com/wechatuser/wechatuser/authorizer", "github.com/wechatuser/wechatuser/examples/newcomers",
	"github.com/wechatuser/wechatuser/wechatuserpush", "github.com/wechatuser/wechatuser/wechatusertest",
	"go.uber.org/goleak",
}

// nested are the packages of other modules, by the folder of the module, and what is given there.
var nested = map[string]struct {
	packages []string
	given    string
}{
	"redisstore": {
		[]string{"github.com/redis/go-redis/v9", "github.com/wechatuser/wechatuser/redisstore"},
		"var rdb redis.UniversalClient\n",
	},
	"otelwechatuser": {
		[]string{"go.opentelemetry.io/otel", "github.com/wechatuser/wechatuser/otelwechatuser"}, "",
	},
	"mirror": {
		[]string{
			"database/sql", "github.com/wechatuser/wechatuser/mirror", "github.com/wechatuser/wechatuser/mirror/mirrortest",
		},
		"var m *mirror.Mirror\nvar token, aesKey string\n",
	},
}

// ofPeers finds the imports of other SDKs, which only the module that compares them requires.
var ofPeers = regexp.MustCompile(`"(github\.com/(?:silenceper|chanxuehong)/[^"]+)"`)

// TestGoBlocksOfTheDocs compiles each Go block of the documents. Code for a module that cannot be had is fenced with
// golang and not compiled. A block is a file, or declarations, or
// what is inside a function that returns an error; there, a variable may be left unused.
func TestGoBlocksOfTheDocs(t *testing.T) {
	t.Parallel()
	blocks := goBlocks(t)
	assert.Greater(t, len(blocks), 20, "the check saw the blocks")

	// One go list for each module, of all that its blocks import.
	imports := map[string][]string{".": packages}
	for _, b := range blocks {
		if b.module != "." {
			imports[b.module] = append(imports[b.module], b.imports...)
		}
	}
	loaders, errs := map[string]types.Importer{}, map[string]error{}
	for dir, paths := range imports {
		loaders[dir], errs[dir] = compiled(t, filepath.Join(moduleRoot, dir), append(paths, ofGiven...))
	}
	require.NoError(t, errs["."])
	for _, b := range blocks {
		if err := errs[b.module]; err != nil {
			require.False(t, testutil.Full(), "%s: its module can't be loaded: %v", b.position, err)
			t.Logf("%s: not checked, since its module can't be loaded: %v", b.position, err)
			continue
		}
		for _, err := range typeErrors(loaders[b.module], b.imports, nested[b.module].given,
			"//line "+b.position+"\n"+b.text) {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Log("What a block uses and does not declare has to be in given, and its packages in packages.")
	}
}

// goBlock is a Go block of a document.
type goBlock struct {
	position string // file and line
	text     string
	module   string // folder of the module that it is compiled in
	imports  []string
}

// goBlocks returns all Go blocks of the documents.
func goBlocks(t *testing.T) (blocks []goBlock) {
	t.Helper()
	fence := regexp.MustCompile("(?ms)^```go\n(.*?)^```")
	for _, name := range documents(t) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, at := range fence.FindAllSubmatchIndex(text, -1) {
			line := 1 + strings.Count(string(text[:at[2]]), "\n")
			b := goBlock{position: fmt.Sprintf("%s:%d", name, line), text: string(text[at[2]:at[3]]), module: "."}
			b.imports = used(packages, b.text)
			for dir, module := range nested {
				if strings.Contains(b.text, dir+".") {
					b.module = dir
					b.imports = append(b.imports, used(module.packages, b.text+module.given)...)
				}
			}
			for _, path := range ofPeers.FindAllStringSubmatch(b.text, -1) {
				b.module = "benchmarks/peers"
				b.imports = append(b.imports, path[1])
			}
			slices.Sort(b.imports)
			b.imports = slices.Compact(b.imports) // a package may be in two of the lists
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// used returns those of the packages that a block uses.
func used(packages []string, block string) (paths []string) {
	version := regexp.MustCompile(`/v\d+$`)
	for _, path := range packages {
		name := strings.TrimPrefix(filepath.Base(version.ReplaceAllString(path, "")), "go-")
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(block) {
			paths = append(paths, path)
		}
	}
	return paths
}

// typeErrors type-checks one block; more declares names that only this block may use.
func typeErrors(load types.Importer, imports []string, more, block string) (errs []error) {
	header := "package doc\n"
	for _, path := range imports {
		header += fmt.Sprintf("import %q\n", path)
	}
	header += more
	fset := token.NewFileSet()
	for i, source := range []string{block, header + block, header + "func _() error {\n" + block + "\nreturn nil\n}"} {
		file, err := parser.ParseFile(fset, "block", source, parser.SkipObjectResolution)
		if err != nil {
			errs = []error{err}
			continue
		}
		files := []*ast.File{file}
		if i > 0 {
			file, err = parser.ParseFile(fset, "given", given, parser.SkipObjectResolution)
			files, errs = append(files, file), []error{err}
		}
		check := types.Config{Importer: load, Error: func(err error) {
			if !strings.Contains(err.Error(), "declared and not used") {
				errs = append(errs, err)
			}
		}}
		_, _ = check.Check("doc", fset, files, nil) // its error is the first of errs
		return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	}
	return errs
}

// compiled returns an importer for packages, from the export data in the build cache.
func compiled(t *testing.T, dir string, packages []string) (types.Importer, error) {
	args := append([]string{"list", "-export", "-deps", "-f", "{{with .Export}}{{$.ImportPath}}={{.}}{{end}}"},
		packages...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	if err != nil {
		return nil, err
	}
	file := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, name, _ := strings.Cut(strings.TrimSpace(line), "=")
		file[path] = name
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(file[path])
	}), nil
}

// Each log line and each part of an error that the guide to monitoring quotes stands in the source.
func TestLogLinesOfTheGuideExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot, "docs", "monitoring.md"))
	require.NoError(t, err)
	prose := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(text), "")
	var source strings.Builder
	for _, dir := range []string{".", "internal/tokencache", "redisstore"} {
		files, err := filepath.Glob(filepath.Join(moduleRoot, dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				code, err := os.ReadFile(file)
				require.NoError(t, err)
				source.Write(code)
			}
		}
	}
	lines, parts := 0, 0
	for _, match := range regexp.MustCompile(`(?m)(^|[^=\w])"([^"\n]+)"`).FindAllStringSubmatch(prose, -1) {
		quoted := match[2]
		if strings.HasPrefix(quoted, "wechatuser: ") || strings.HasPrefix(quoted, "redisstore: ") {
			lines++
			assert.True(t, strings.Contains(source.String(), `"`+quoted+`"`), "no log line %q", quoted)
			continue
		}
		parts++
		assert.True(t, strings.Contains(source.String(), quoted), "no text %q", quoted)
	}
	assert.Greater(t, lines, 10, "the check saw the lines")
	assert.Positive(t, parts)
}
