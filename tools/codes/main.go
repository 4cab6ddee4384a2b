// Command codes generates the tables of errcodes in docs/errors.md and docs/errors.zh-CN.md from codes.go.
//
//go:generate go run . ../../codes.go ../../docs/errors.md ../../docs/errors.zh-CN.md
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// marker is the line of the document below which everything is generated: a comment that says how to generate it.
var marker = regexp.MustCompile(`(?m)^<!-- .*go generate \S+/codes -->\n`)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "codes:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: codes codes.go errors.md errors.zh-CN.md")
	}
	groups, err := readGroups(args[0])
	if err != nil {
		return err
	}
	for i, lang := range []language{english, chinese} {
		name := args[1+i]
		document, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if document, err = update(document, groups, lang); err != nil {
			return err
		}
		if err := os.WriteFile(name, document, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// update returns the document with everything below the marker generated anew.
func update(document []byte, groups []group, lang language) ([]byte, error) {
	at := marker.FindIndex(document)
	if at == nil {
		return nil, fmt.Errorf("the document has no line that matches %q", marker)
	}
	return slices.Concat(document[:at[1]], tables(groups, lang)), nil
}

// group is a block of constants in codes.go. The texts of a code come from the package itself; only its name and its
// group have to be read from the source.
type group struct {
	title string // the comment of the block, without the full stop
	codes []namedCode
}

type namedCode struct {
	name string
	code wechatuser.Code
}

// readGroups parses a Go source file and returns its codes by group.
func readGroups(name string) (groups []group, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		block, ok := decl.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		g := group{title: strings.TrimSuffix(strings.TrimSpace(block.Doc.Text()), ".")}
		for _, spec := range block.Specs {
			value := spec.(*ast.ValueSpec)
			if ident, ok := value.Type.(*ast.Ident); !ok || ident.Name != "Code" {
				continue
			}
			code, err := evaluate(value.Values[0])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", value.Names[0].Name, err)
			}
			g.codes = append(g.codes, namedCode{value.Names[0].Name, code})
		}
		if len(g.codes) > 0 {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// evaluate returns the value of a constant expression.
func evaluate(expr ast.Expr) (wechatuser.Code, error) {
	tv, err := types.Eval(token.NewFileSet(), nil, token.NoPos, types.ExprString(expr))
	if err != nil {
		return 0, err
	}
	n, exact := constant.Int64Val(tv.Value)
	if !exact {
		return 0, fmt.Errorf("%s is not an integer", tv.Value)
	}
	return wechatuser.Code(n), nil
}

var classes = []struct {
	name string
	err  error
}{
	{"ErrInvalidToken", wechatuser.ErrInvalidToken},
	{"ErrCredential", wechatuser.ErrCredential},
	{"ErrRateLimited", wechatuser.ErrRateLimited},
	{"ErrPermission", wechatuser.ErrPermission},
	{"ErrNotFollowing", wechatuser.ErrNotFollowing},
	{"ErrInvalidArgument", wechatuser.ErrInvalidArgument},
	{"ErrTemporary", wechatuser.ErrTemporary},
}

// tables returns a Markdown table for each group.
func tables(groups []group, lang language) []byte {
	var b bytes.Buffer
	for _, g := range groups {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n|---|---|---|---|\n", lang.title(g.title), lang.header)
		for _, c := range g.codes {
			n := strconv.Itoa(int(c.code))
			fmt.Fprintf(&b, "| <a id=%q></a>[%s](%s)<br>`%s` | %s | %s | %s |\n",
				n, n, c.code.DocURL(), c.name, meaning(c.code, lang), cell(lang.remedy(c.code)), classesOf(c.code))
		}
	}
	return b.Bytes()
}

// meaning returns the errmsg of a code, if known, and its meaning.
func meaning(c wechatuser.Code, lang language) string {
	meaning := cell(lang.meaning(c))
	if text := c.Text(); text != "" {
		return "`" + strings.ReplaceAll(text, "|", `\|`) + "`<br>" + meaning
	}
	return meaning
}

// classesOf returns the names of the error classes that a code belongs to.
func classesOf(c wechatuser.Code) string {
	var names []string
	for _, class := range classes {
		if errors.Is(c, class.err) {
			names = append(names, "`"+class.name+"`")
		}
	}
	return strings.Join(names, "<br>")
}

// cell escapes a text for a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, `\u`, `\\u`, "<", "&lt;").Replace(text)
}
