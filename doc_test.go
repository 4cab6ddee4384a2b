package wechatuser_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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

// TestREADMEsAreInStep: the two READMEs have the same parts and the same code.
func TestREADMEsAreInStep(t *testing.T) {
	english, chinese := readme(t, "README.md"), readme(t, "README.zh-CN.md")

	assert.Equal(t, english.headings, chinese.headings)
	assert.Equal(t, english.code, chinese.code)
	assert.NotEmpty(t, english.code)
}

// TestLinksOfTheDocs: what the documents link to in the repository is there.
func TestLinksOfTheDocs(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, name := range []string{"README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(match[1])
			assert.NoError(t, err, "%s links to %s", name, match[1])
		}
	}
}

type parts struct {
	headings []int // their levels
	code     []string
}

func readme(t *testing.T, name string) (p parts) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 1 {
			p.code = append(p.code, part)
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
