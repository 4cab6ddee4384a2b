package wechatuser_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryExportedNameHasAComment reads the public packages as godoc does.
func TestEveryExportedNameHasAComment(t *testing.T) {
	for _, dir := range []string{".", "wechatusertest", "redisstore"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		fset, names := token.NewFileSet(), 0
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			require.NoError(t, err)
			for _, decl := range file.Decls {
				for _, ident := range exportedWithoutComment(decl, &names) {
					assert.Fail(t, "no comment", "%s: %s", fset.Position(ident.Pos()), ident.Name)
				}
			}
		}
		assert.Greater(t, names, 20, "the check saw the names of %s", dir)
	}
}

func exportedWithoutComment(decl ast.Decl, names *int) (bare []*ast.Ident) {
	note := func(ident *ast.Ident, docs ...*ast.CommentGroup) {
		if !ident.IsExported() {
			return
		}
		*names++
		for _, doc := range docs {
			if doc.Text() != "" {
				return
			}
		}
		bare = append(bare, ident)
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || exportedReceiver(d.Recv.List[0].Type) {
			note(d.Name, d.Doc)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				note(s.Name, d.Doc, s.Doc)
				if fields, ok := s.Type.(*ast.StructType); ok && s.Name.IsExported() {
					for _, f := range fields.Fields.List {
						for _, name := range f.Names {
							note(name, f.Doc, f.Comment, s.Doc, d.Doc)
						}
					}
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					note(name, d.Doc, s.Doc, s.Comment)
				}
			}
		}
	}
	return bare
}

func exportedReceiver(t ast.Expr) bool {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	ident, ok := t.(*ast.Ident)
	return ok && ident.IsExported()
}

// TestREADMEsAreInStep: the two READMEs have the same parts and, but for its comments, the same code.
func TestREADMEsAreInStep(t *testing.T) {
	english, chinese := readme(t, "README.md"), readme(t, "README.zh-CN.md")

	assert.Equal(t, english.headings, chinese.headings)
	assert.Equal(t, english.code, chinese.code)
	assert.NotEmpty(t, english.code)
}

type parts struct {
	headings []int // their levels
	code     []string
}

func readme(t *testing.T, name string) (p parts) {
	t.Helper()
	comment := regexp.MustCompile(`\s*(//|# ).*`)
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 1 {
			p.code = append(p.code, comment.ReplaceAllString(part, ""))
			continue
		}
		for line := range strings.Lines(part) {
			if level := len(line) - len(strings.TrimLeft(line, "#")); level > 0 {
				p.headings = append(p.headings, level)
			}
		}
	}
	return p
}

// TestLinksOfTheDocs: what the documents of all folders link to in the repository is there, headings included.
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

// documents are all Markdown files of the repository.
func documents(t *testing.T) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return fs.SkipDir
		case filepath.Ext(name) == ".md":
			names = append(names, name)
		}
		return nil
	}))
	return names
}

// anchors are the places in a document that a link can name, as GitHub makes them.
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
