package wechatuser

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The constants and the table are written separately; this keeps one from having a code that the other lacks.
func TestCodeConstantsAndTableAgree(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, parser.ParseComments)
	require.NoError(t, err)

	var declared []Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Code" {
			return true
		}
		name := spec.Names[0].Name
		assert.Regexp(t, `^Code[A-Z]`, name)
		assert.NotEmpty(t, spec.Comment.Text(), "%s has no comment", name)
		declared = append(declared, literalCode(t, spec.Values[0]))
		return false
	})
	slices.Sort(declared)
	assert.Equal(t, declared, Codes())
}

// literalCode is the value of an expression such as 40003 or -1.
func literalCode(t *testing.T, expr ast.Expr) Code {
	t.Helper()
	sign := 1
	if minus, ok := expr.(*ast.UnaryExpr); ok {
		expr, sign = minus.X, -1
	}
	n, err := strconv.Atoi(expr.(*ast.BasicLit).Value)
	require.NoError(t, err)
	return Code(sign * n)
}

func TestCodesAreAscendingAndUnique(t *testing.T) {
	codes := Codes()
	for i := 1; i < len(codes); i++ {
		assert.Less(t, codes[i-1], codes[i])
	}

	codes[0] = 0
	assert.Equal(t, CodeSystemBusy, Codes()[0], "a caller's change must not reach the table")
}

func TestEveryCodeIsExplained(t *testing.T) {
	for _, c := range Codes() {
		t.Run(strconv.Itoa(int(c)), func(t *testing.T) {
			assert.NotEmpty(t, c.Meaning())
			assert.False(t, hasHan(c.Meaning()), "Meaning %q", c.Meaning())
			assert.True(t, hasHan(c.MeaningZH()), "MeaningZH %q", c.MeaningZH())
			assert.NotEmpty(t, c.Remedy())
			assert.True(t, hasHan(c.RemedyZH()), "RemedyZH %q", c.RemedyZH())
			assert.False(t, hasHan(c.Remedy()), "Remedy %q", c.Remedy())

			for _, s := range []string{c.Text(), c.Meaning(), c.MeaningZH(), c.Remedy()} {
				assert.Equal(t, strings.TrimSpace(s), s)
				assert.Equal(t, oneLine(s), s, "all of it goes on one line")
			}
			for _, s := range []string{c.Meaning(), c.MeaningZH(), c.Remedy()} {
				assert.NotRegexp(t, `[.。!！:：;；,，]$`, s, "these are put into longer lines")
			}
			assert.NotRegexp(t, `[,;:!?]`, c.MeaningZH(), "Chinese text has Chinese punctuation")
			assert.False(t, hasHan(c.Text()), "Text %q", c.Text())
			assert.True(t, strings.HasPrefix(c.DocURL(), "https://developers.weixin.qq.com/"), c.DocURL())
		})
	}
}

func hasHan(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

func TestCodeTextIsTheDocumentedOne(t *testing.T) {
	for c, text := range map[Code]string{
		-1:    "system error",
		40001: "invalid credential, access_token is invalid or not latest",
		40003: "invalid openid",
		40125: "invalid appsecret",
		40243: "", // documented in Chinese only
		45009: "reach max api daily quota limit",
		45171: "some openid fail",
		47002: "data format error, do NOT use json unicode encode (\\uxxxx\\uxxxx), please use utf8 encoded text!",
		49003: "not match openid with appid",
	} {
		assert.Equal(t, text, c.Text(), "errcode %d", int(c))
	}
}

// The codes of error answers that developers and other SDKs have published.
func TestPublishedCodesAreKnown(t *testing.T) {
	for _, c := range []Code{
		-1, 40001, 40003, 40013, 40032, 40125, 40164, 45009, 45157, 45159, 45171, 47001, 48001, 63178, 63182, 76022,
	} {
		assert.NotEmpty(t, c.Text(), "errcode %d", int(c))
		assert.NotEmpty(t, c.Remedy(), "errcode %d", int(c))
	}
}

func TestCodeError(t *testing.T) {
	assert.EqualError(t, CodeInvalidOpenID, "wechatuser: errcode 40003 invalid openid")
	assert.EqualError(t, CodeSystemBusy, "wechatuser: errcode -1 system error")
	assert.EqualError(t, CodeSecretFrozen, "wechatuser: errcode 40243 the app secret is frozen",
		"no text, so its meaning")
	assert.EqualError(t, Code(12345), "wechatuser: errcode 12345")
}

func TestUnknownCode(t *testing.T) {
	const c Code = 12345
	assert.Empty(t, c.Text())
	assert.Empty(t, c.Meaning())
	assert.Empty(t, c.MeaningZH())
	assert.Empty(t, c.Remedy())
	assert.Empty(t, c.RemedyZH())
	assert.Equal(t, "https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html", c.DocURL())
	assert.Zero(t, c.class())
	assert.False(t, c.isPermanentTokenFailure())
	assert.NotContains(t, Codes(), c)
	assert.NotErrorIs(t, c, ErrTemporary)
	assert.ErrorIs(t, fmt.Errorf("wrapped: %w", c), c)
}

func TestCodeDocURL(t *testing.T) {
	for c, url := range map[Code]string{
		CodeSomeOpenIDsFailed:     "https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html",
		CodeInvalidRemark:         "https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_updateremark.html",
		CodeIPNotAllowed:          "https://developers.weixin.qq.com/doc/service/api/base/api_getaccesstoken.html",
		CodeMigrationInvalidAppID: "https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html",
		CodeRIDNotFound:           "https://developers.weixin.qq.com/doc/service/api/apimanage/api_getridinfo.html",
		CodeTagHasTooManyFans:     "https://developers.weixin.qq.com/doc/offiaccount/User_Management/User_Tag_Management.html",
		CodeInvalidOpenID:         "https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html",
	} {
		assert.Equal(t, url, c.DocURL(), "errcode %d", int(c))
	}
}

func TestCodeClasses(t *testing.T) {
	want := map[error][]Code{
		ErrInvalidToken: {40001, 40014, 41001, 42001},
		ErrCredential: {
			40002, 40013, 40125, 40164, 40243, 41002, 41004, 42007, 50004, 50007, 61005, 61006, 61011, 61023, 61024,
			89501, 89502, 89503, 89504, 89505, 89506, 89507,
		},
		ErrRateLimited: {45009, 45011, 48006},
		ErrPermission: {
			40090, 40164, 48001, 48004, 50001, 50002, 50003, 61003, 61004, 61007, 61016, 76003, 76022, 85105, 85107,
		},
		ErrNotFollowing: {43004, 50005},
		ErrInvalidArgument: {
			40003, 40031, 40032, 40033, 40035, 40038, 40092, 40097, 40184, 40222, 41009,
			43001, 43002, 43003, 44002, 44005, 45002, 45058, 45157, 45158, 45159, 46004, 47001, 47002, 49001, 49003,
			61010, 63178, 63179, 63182, 63183, 76001, 76002, 76004, 76021,
		},
		ErrTemporary: {-1, 45011, 45169, 45171, 85113, 268487001, 268487002},
		ErrAmbiguous: nil,
	}
	unclassed := []Code{45056, 45057, 45059, 85112}

	for class, in := range want {
		for _, c := range Codes() {
			wrapped := fmt.Errorf("wrapped: %w", c)
			assert.Equal(t, slices.Contains(in, c), errors.Is(wrapped, class), "errcode %d, %v", int(c), class)
		}
	}
	for _, c := range Codes() {
		assert.Equal(t, slices.Contains(unclassed, c), c.class() == 0, "errcode %d", int(c))
	}
}

func TestCodeThroughError(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &Error{API: "updateRemark", Code: CodeRequireSubscribe})
	assert.ErrorIs(t, err, CodeRequireSubscribe)
	assert.ErrorIs(t, err, ErrNotFollowing)
	assert.NotErrorIs(t, err, CodeUserUnsubscribed)
	assert.NotErrorIs(t, err, ErrInvalidArgument)
}

func TestPermanentTokenFailure(t *testing.T) {
	want := []Code{
		40001, 40002, 40013, 40125, 40164, 40243, 41002, 41004, 42007, 48001, 50002, 50004, 50007, 61005, 61006, 61011, 61023, 61024,
		89501, 89502, 89503, 89504, 89505, 89506, 89507,
	}
	var got []Code
	for _, c := range Codes() {
		if c.isPermanentTokenFailure() {
			got = append(got, c)
		}
	}
	assert.Equal(t, want, got)
}
