package wechatuser_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryExportedNameHasAComment reads the public packages as godoc does.
func TestEveryExportedNameHasAComment(t *testing.T) {
	for _, dir := range []string{".", "wechatusertest"} {
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
