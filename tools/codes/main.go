// Command codes writes the catalogue of errcodes into docs/errors.md.
//
//go:generate go run . ../../codes.go ../../docs/errors.md
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
	if len(args) != 2 {
		return errors.New("usage: codes codes.go errors.md")
	}
	groups, err := read(args[0])
	if err != nil {
		return err
	}
	document, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	if document, err = splice(document, groups); err != nil {
		return err
	}
	return os.WriteFile(args[1], document, 0o644)
}

// splice replaces everything below the marker.
func splice(document []byte, groups []group) ([]byte, error) {
	at := marker.FindIndex(document)
	if at == nil {
		return nil, fmt.Errorf("the document has no line that matches %q", marker)
	}
	return slices.Concat(document[:at[1]], catalogue(groups)), nil
}

// group is a block of constants in codes.go. What the table knows about a code comes from the package itself; its name
// and its group are in the source alone.
type group struct {
	title string // the comment of the block, without the full stop
	codes []named
}

type named struct {
	name string
	code wechatuser.Code
}

// read takes the names and the groups of the codes from the source.
func read(name string) (groups []group, err error) {
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
			g.codes = append(g.codes, named{value.Names[0].Name, code})
		}
		if len(g.codes) > 0 {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

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

// catalogue is a table for each group.
func catalogue(groups []group) []byte {
	var b bytes.Buffer
	for _, g := range groups {
		fmt.Fprintf(&b, "\n### %s\n\n", g.title)
		fmt.Fprintln(&b, "| errcode | errmsg, meaning, 含义 | what to do | class |")
		fmt.Fprintln(&b, "|---|---|---|---|")
		for _, c := range g.codes {
			n := strconv.Itoa(int(c.code))
			fmt.Fprintf(&b, "| <a id=%q></a>[%s](%s)<br>`%s` | %s | %s | %s |\n",
				n, n, c.code.DocURL(), c.name, meaning(c.code), cell(c.code.Remedy()), classesOf(c.code))
		}
	}
	return b.Bytes()
}

func meaning(c wechatuser.Code) string {
	parts := []string{cell(c.Meaning()), cell(c.MeaningZH())}
	if text := c.Text(); text != "" {
		parts = append([]string{"`" + strings.ReplaceAll(text, "|", `\|`) + "`"}, parts...)
	}
	return strings.Join(parts, "<br>")
}

func classesOf(c wechatuser.Code) string {
	var names []string
	for _, class := range classes {
		if errors.Is(c, class.err) {
			names = append(names, "`"+class.name+"`")
		}
	}
	return strings.Join(names, "<br>")
}

// cell makes a text fit for a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, `\u`, `\\u`, "<", "&lt;").Replace(text)
}
