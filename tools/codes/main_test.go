package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

const root = "../.."

func TestDocumentsAreUpToDate(t *testing.T) {
	groups, err := readGroups(filepath.Join(root, "codes.go"))
	require.NoError(t, err)
	for name, lang := range map[string]language{"errors.md": english, "errors.zh-CN.md": chinese} {
		document, err := os.ReadFile(filepath.Join(root, "docs", name))
		require.NoError(t, err)

		want, err := update(document, groups, lang)

		require.NoError(t, err)
		assert.Equal(t, string(want), string(document), "run go generate ./tools/codes")
	}
}

func TestEveryCodeHasGroupAndRemedy(t *testing.T) {
	groups, err := readGroups(filepath.Join(root, "codes.go"))
	require.NoError(t, err)
	var codes []wechatuser.Code
	for _, g := range groups {
		assert.NotEmpty(t, g.title)
		assert.NotEmpty(t, titlesZH[g.title], "add %q to titlesZH", g.title)
		for _, c := range g.codes {
			codes = append(codes, c.code)
			assert.NotEmpty(t, c.code.Remedy(), c.name)
			assert.NotEmpty(t, c.code.RemedyZH(), c.name)
		}
	}
	slices.Sort(codes)

	assert.Equal(t, wechatuser.Codes(), codes)
}

func TestDocumentWithoutMarkerIsRejected(t *testing.T) {
	_, err := update([]byte("# Errors\n"), nil, english)

	assert.ErrorContains(t, err, "has no line that matches")
}
