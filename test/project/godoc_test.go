package project

import (
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/wechatuser/wechatuser"

// public are the packages that users import.
var public = []string{
	".", "accounts", "wechatuserpush", "wechatusertest", "redisstore", "otelwechatuser", "mirror",
}

// Each exported name of the public packages has a doc comment.
func TestEveryExportedNameHasAComment(t *testing.T) {
	for _, dir := range public {
		files, err := filepath.Glob(filepath.Join(moduleRoot, dir, "*.go"))
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
		assert.Greater(t, names, 5, "the check saw the names of %s", dir)
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

// unlinked matches what looks like a doc link but is none.
var unlinked = regexp.MustCompile(`\[\*?([a-z]+\.)?[A-Z]\w*(\.\w+)?\]`)

// Doc links name something that exists.
func TestLinksOfTheGodoc(t *testing.T) {
	packages := map[string]*doc.Package{}
	comments := map[string][]*ast.CommentGroup{}
	for _, dir := range public {
		path := strings.TrimSuffix(module+"/"+dir, "/.")
		packages[path], comments[path] = documented(t, dir, path)
	}
	links := 0
	for path, pkg := range packages {
		for _, group := range comments[path] {
			each(pkg.Parser().Parse(group.Text()), func(text comment.Text) {
				switch text := text.(type) {
				case comment.Plain:
					assert.NotRegexp(t, unlinked, string(text), "in a comment of %s", path)
				case *comment.DocLink:
					links++
					if target, ours := packages[text.ImportPath]; ours && text.Name != "" {
						assert.True(t, has(target, text.Recv, text.Name), "%s links to %s.%s.%s", path, text.ImportPath,
							text.Recv, text.Name)
					}
				}
			})
		}
	}
	assert.Greater(t, links, 200, "the check saw the links")
}

// documented returns a package and all of its comments.
func documented(t *testing.T, dir, path string) (*doc.Package, []*ast.CommentGroup) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(moduleRoot, dir, "*.go"))
	require.NoError(t, err)
	var (
		fset   = token.NewFileSet()
		files  []*ast.File
		groups []*ast.CommentGroup
	)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, file)
		groups = append(groups, file.Comments...)
	}
	pkg, err := doc.NewFromFiles(fset, files, path, doc.PreserveAST)
	require.NoError(t, err)
	return pkg, groups
}

// each visits all text of a comment, except code.
func each(d *comment.Doc, visit func(comment.Text)) {
	blocks := func(list []comment.Block) {
		for _, b := range list {
			if p, ok := b.(*comment.Paragraph); ok {
				for _, text := range p.Text {
					visit(text)
				}
			}
		}
	}
	blocks(d.Content)
	for _, b := range d.Content {
		if list, ok := b.(*comment.List); ok {
			for _, item := range list.Items {
				blocks(item.Content)
			}
		}
	}
}

// has reports whether a package declares a name, or a type has a method or field of that name.
func has(pkg *doc.Package, recv, name string) bool {
	if recv != "" {
		name = recv + "." + name
	}
	link := pkg.Parser().Parse("[" + name + "]").Content[0].(*comment.Paragraph).Text[0]
	_, ok := link.(*comment.DocLink)
	return ok
}
