package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// floors are the files of the root package, the top floor first. A file uses only files on floors below its own, or
// files of its own floor without a cycle.
var floors = [][]string{
	{"sync.go", "bulkread.go"},
	{"bulk.go", "iterate.go"},
	{"bulkpolicy.go"},
	{"user.go", "tag.go", "blacklist.go", "quota.go", "do.go"},
	{"client.go"},
	{"tokenprovider.go"},
	{"call.go"},
	{"attempt.go"},
	{"options.go", "joboptions.go", "validate.go", "profiles.go", "secret.go", "cloud.go"},
	{"errors.go"},
	{"request.go", "codetable.go", "remedyzh.go", "interceptor.go", "tokenhook.go", "jobcontext.go"},
	{"codes.go", "endpoint.go", "retry.go", "token.go", "tokenstore.go", "types.go", "version.go"},
	{"doc.go"},
}

// imports are the packages of the module that each internal package may import, in its source files.
var imports = map[string][]string{
	"internal/backoff":       {},
	"internal/bulk":          {"internal/backoff", "internal/guard"},
	"internal/guard":         {},
	"internal/paging":        {"internal/guard"},
	"internal/redact":        {"internal/wire"},
	"internal/sandbox":       {"", "wechatusertest"},
	"internal/testutil":      {"", "wechatusertest", "internal/testutil/race"},
	"internal/testutil/race": {},
	"internal/testutil/seq":  {},
	"internal/tokencache":    {"internal/backoff", "internal/guard", "internal/redact"},
	"internal/transport":     {},
	"internal/wire":          {},
	"internal/wire/wiretest": {},
}

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Export string
	GoFiles, Imports   []string
}

func goList(t *testing.T, args ...string) (packages []listed) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go",
		append([]string{"list", "-json=ImportPath,Export,GoFiles,Imports"}, args...)...)
	cmd.Dir, cmd.Stderr = moduleRoot, os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

func TestImportsOfInternalPackages(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range goList(t, "./...") {
		rel := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "github.com/go-resty/") {
				assert.Equal(t, "internal/transport", rel, "only internal/transport may import resty")
			}
			forTests := func(path string) bool {
				return strings.HasPrefix(path, "internal/testutil") || path == "internal/wire/wiretest"
			}
			if own, _ := strings.CutPrefix(imp, module+"/"); forTests(own) && !forTests(rel) {
				assert.Fail(t, own+" is for tests only", "%s imports it", rel)
			}
			if own, ok := strings.CutPrefix(imp, module); ok && strings.HasPrefix(rel, "internal/") {
				assert.Contains(t, imports[rel], strings.TrimPrefix(own, "/"), "%s must not import %s", rel, imp)
			}
		}
		if strings.HasPrefix(rel, "internal/") {
			assert.Contains(t, imports, rel, "a new internal package: say what it may import")
			seen[rel] = true
		}
	}
	assert.Len(t, seen, len(imports))
}

// A handler of pushes needs no client and no dependency, and shares no code with the simulator.
func TestImportsOfPushes(t *testing.T) {
	packages := goList(t, "./wechatuserpush")
	require.Len(t, packages, 1)
	for _, imp := range packages[0].Imports {
		if host, _, _ := strings.Cut(imp, "/"); strings.Contains(host, ".") {
			assert.Contains(t, []string{module + "/internal/guard", module + "/internal/redact"}, imp)
		}
	}
}

func TestFilesUseOnlyFloorsBelow(t *testing.T) {
	floorOf := map[string]int{}
	for i, names := range floors {
		for _, name := range names {
			floorOf[name] = i
		}
	}
	uses := fileUses(t)
	assert.ElementsMatch(t, slices.Collect(maps.Keys(floorOf)), slices.Collect(maps.Keys(uses)),
		"the files of the root package")
	for from, targets := range uses {
		for to, names := range targets {
			assert.LessOrEqual(t, floorOf[from], floorOf[to], "%s is below %s, and uses its %s", from, to,
				strings.Join(names, ", "))
		}
	}
	cycle := findCycle(uses)
	var text strings.Builder
	for i, from := range cycle {
		to := cycle[(i+1)%len(cycle)]
		fmt.Fprintf(&text, "%s uses %s of %s\n", from, strings.Join(uses[from][to], ", "), to)
	}
	assert.Empty(t, text.String(), "files of the root package use each other in a cycle")
}

// A test file of the root package is named after the file that it tests; examples and fuzz targets are apart.
func TestNamesOfTestFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(moduleRoot, "*_test.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "example_"), name == "export_test.go", name == "fuzz_test.go":
		default:
			assert.FileExists(t, strings.TrimSuffix(file, "_test.go")+".go")
		}
	}
}

// fileUses returns, for each file of the root package, the other files that it uses, with the names that tie them.
func fileUses(t *testing.T) map[string]map[string][]string {
	t.Helper()
	exports := map[string]string{}
	var files []string
	for _, p := range goList(t, "-deps", "-export", ".") {
		exports[p.ImportPath] = p.Export
		if p.ImportPath == module {
			files = p.GoFiles
		}
	}
	fset := token.NewFileSet()
	var syntax []*ast.File
	for _, name := range files {
		file, err := parser.ParseFile(fset, filepath.Join(moduleRoot, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		syntax = append(syntax, file)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	pkg, err := conf.Check(module, fset, syntax, info)
	require.NoError(t, err)

	fileOf := func(pos token.Pos) string { return filepath.Base(fset.Position(pos).Filename) }
	uses := map[string]map[string][]string{}
	for _, name := range files {
		uses[name] = map[string][]string{}
	}
	for ident, obj := range info.Uses {
		from, to := fileOf(ident.Pos()), fileOf(obj.Pos())
		if obj.Pkg() == pkg && from != to && !slices.Contains(uses[from][to], obj.Name()) {
			uses[from][to] = append(uses[from][to], obj.Name())
		}
	}
	for _, targets := range uses {
		for _, names := range targets {
			slices.Sort(names)
		}
	}
	return uses
}

// findCycle returns files that use each other in a cycle, each the next one, or nil.
func findCycle(uses map[string]map[string][]string) []string {
	var path []string
	done := map[string]bool{}
	var visit func(file string) []string
	visit = func(file string) []string {
		if i := slices.Index(path, file); i >= 0 {
			return slices.Clone(path[i:])
		}
		if done[file] {
			return nil
		}
		path = append(path, file)
		for _, next := range slices.Sorted(maps.Keys(uses[file])) {
			if cycle := visit(next); cycle != nil {
				return cycle
			}
		}
		path = path[:len(path)-1]
		done[file] = true
		return nil
	}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		if cycle := visit(file); cycle != nil {
			return cycle
		}
	}
	return nil
}

func TestFindCycle(t *testing.T) {
	uses := map[string]map[string][]string{"a": {"b": {"x"}}, "b": {"c": {"y"}}, "c": {}}
	assert.Empty(t, findCycle(uses))
	uses["c"]["b"] = []string{"z"}
	assert.ElementsMatch(t, []string{"b", "c"}, findCycle(uses))
}
