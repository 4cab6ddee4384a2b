package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) {
	_ = os.Unsetenv("WECHAT_APPID")
	_ = os.Unsetenv("WECHAT_SECRET")
	goleak.VerifyTestMain(m)
}

// newAccount returns an account with 100 followers, and a tag with the first 10 of them.
func newAccount() (srv *wechatusertest.Server, tagID int) {
	srv = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100))
	return srv, srv.AddTag("vip", srv.OpenIDs()[:10]...)
}

// fans returns the openids of the followers from (inclusive) to to (exclusive).
func fans(from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, wechatusertest.OpenID(i))
	}
	return ids
}

// runSync runs the program on an account with a file of these openids.
func runSync(t *testing.T, srv *wechatusertest.Server, openIDs []string, args ...string) (string, error) {
	t.Helper()
	m, err := readMembers("members.txt", strings.NewReader(strings.Join(openIDs, "\n")))
	require.NoError(t, err)
	cfg, err := parse(append([]string{"-tag", "vip"}, args...), io.Discard)
	require.NoError(t, err)
	var out bytes.Buffer
	err = synchronize(t.Context(), srv.Client(), cfg, m, &out)
	return out.String(), err
}

// writes returns the number of calls that write.
func writes(srv *wechatusertest.Server) (n int) {
	for _, path := range []string{
		"/cgi-bin/tags/create", "/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging",
	} {
		n += srv.Calls(path)
	}
	return n
}

func TestDryRun(t *testing.T) {
	srv, vip := newAccount()

	out, err := runSync(t, srv, fans(3, 15))

	require.NoError(t, err)
	assert.Equal(t, fans(0, 10), srv.TagFans(vip))
	assert.Zero(t, writes(srv))
	for _, line := range []string{
		`members.txt has 12 openids. The tag "vip" has 10 members.`,
		"  to add          5  " + strings.Join(fans(10, 13), ", ") + ", and 2 more\n",
		"  to remove       3  " + strings.Join(fans(0, 3), ", ") + "\n",
		"  unchanged       7\n",
		"Dry run, nothing changed. Use -apply to apply the changes.",
	} {
		assert.Contains(t, out, line)
	}
}

func TestApply(t *testing.T) {
	srv, vip := newAccount()

	out, err := runSync(t, srv, fans(3, 15), "-apply")

	require.NoError(t, err)
	assert.Equal(t, fans(3, 15), srv.TagFans(vip))
	assert.Contains(t, out, "  to add          5  ", "the plan is printed first")
	assert.Contains(t, out, "5 added, 3 removed, 7 unchanged, 0 rejected. API calls: ")

	before := writes(srv)
	out, err = runSync(t, srv, fans(3, 15), "-apply")

	require.NoError(t, err)
	assert.Contains(t, out, "Nothing to do.")
	assert.Equal(t, before, writes(srv))
	assert.Equal(t, fans(3, 15), srv.TagFans(vip))
}

func TestKeep(t *testing.T) {
	srv, vip := newAccount()

	out, err := runSync(t, srv, fans(9, 12), "-apply", "-keep")

	require.NoError(t, err)
	assert.Equal(t, fans(0, 12), srv.TagFans(vip))
	assert.Contains(t, out, "  to remove       0\n")
	assert.Contains(t, out, "  kept            9\n")
	assert.Contains(t, out, "2 added, 0 removed, 1 unchanged, 0 rejected. API calls: ")
}

func TestNewTag(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(5))

	out, err := runSync(t, srv, fans(0, 3))

	require.NoError(t, err)
	assert.Contains(t, out, `The tag "vip" does not exist; -apply creates it.`)
	assert.Empty(t, srv.Tags())

	_, err = runSync(t, srv, fans(0, 3), "-apply")

	require.NoError(t, err)
	tags := srv.Tags()
	require.Len(t, tags, 1)
	assert.Equal(t, "vip", tags[0].Name)
	assert.Equal(t, fans(0, 3), srv.TagFans(tags[0].ID))
}

// Rejected openids are listed with the reason and the line; all others are processed.
func TestRejectedOpenIDs(t *testing.T) {
	srv, vip := newAccount()
	srv.Unfollow(fans(20, 22)...)
	stranger := wechatusertest.ForeignOpenID(1)
	ids := append(append(fans(5, 12), stranger), fans(20, 23)...)

	out, err := runSync(t, srv, ids, "-apply")

	require.ErrorIs(t, err, wechatuser.ErrNotFollowing)
	assert.Equal(t, append(fans(5, 12), wechatusertest.OpenID(22)), srv.TagFans(vip))
	assert.Contains(t, out, "3 added, 5 removed, 5 unchanged, 3 rejected. API calls: ")
	assert.Contains(t, out, "1 could not be added: 49003, ")
	assert.Contains(t, out, "\n  "+stranger+"  line 8\n")
	assert.Contains(t, out, "2 could not be added: 50005, the user does not follow the account: ")
	assert.Contains(t, out, "\n  "+wechatusertest.OpenID(20)+"  line 9\n  "+wechatusertest.OpenID(21)+"  line 10\n")
	assert.NotContains(t, out, wechatusertest.OpenID(22)+"  line", "it was not rejected")
	assert.Less(t, strings.Index(out, "49003"), strings.Index(out, "50005"))
}

// Removing more than half of the members, as with the wrong file, requires -force.
func TestRemovingMoreThanHalfRequiresForce(t *testing.T) {
	srv, vip := newAccount()

	for _, ids := range [][]string{fans(6, 10), fans(50, 60), nil} {
		out, err := runSync(t, srv, ids)
		require.NoError(t, err)
		assert.Contains(t, out, "More than half of the members would be removed; -apply requires -force for that.")

		_, err = runSync(t, srv, ids, "-apply")
		require.ErrorContains(t, err, "-force")
		assert.Equal(t, fans(0, 10), srv.TagFans(vip))
	}
	assert.Zero(t, writes(srv))

	out, err := runSync(t, srv, fans(50, 53), "-apply", "-keep")
	require.NoError(t, err)
	assert.NotContains(t, out, "More than half", "-keep removes no members")

	_, err = runSync(t, srv, fans(6, 10), "-apply", "-force")
	require.NoError(t, err)
	assert.Equal(t, fans(6, 10), srv.TagFans(vip))

	_, err = runSync(t, srv, fans(8, 10), "-apply")
	assert.NoError(t, err, "exactly half is allowed")
}

// Nobody is removed if a list cannot be read or if adding was stopped.
func TestPlatformErrorRemovesNobody(t *testing.T) {
	for _, path := range []string{"/cgi-bin/tags/get", "/cgi-bin/user/tag/get", "/cgi-bin/tags/members/batchtagging"} {
		t.Run(path, func(t *testing.T) {
			srv, vip := newAccount()
			srv.FailNext(path, wechatuser.CodeDailyQuotaExceeded, 1)

			_, err := runSync(t, srv, fans(3, 15), "-apply")

			require.ErrorIs(t, err, wechatuser.ErrRateLimited)
			assert.Equal(t, fans(0, 10), srv.TagFans(vip))
		})
	}
}

func TestReadMembers(t *testing.T) {
	a, b, c := wechatusertest.OpenID(1), wechatusertest.OpenID(2), wechatusertest.OpenID(3)
	for name, test := range map[string]struct {
		text  string
		want  []string
		lines []int
	}{
		"a list":           {a + "\n" + b + "\n", []string{a, b}, []int{1, 2}},
		"no final newline": {a + "\n" + b, []string{a, b}, []int{1, 2}},
		"blank lines and comments": {
			"# \"quoted\n\n" + a + "\n  \n#" + b + "\n  # " + b + "\n" + c + "\n", []string{a, c}, []int{3, 7},
		},
		"BOM and CRLF": {"\ufeff" + a + "\r\n\r\n" + b + "\r\n", []string{a, b}, []int{1, 3}},
		"spaces":       {"  " + a + "  \n\t" + b + "\t\n", []string{a, b}, []int{1, 2}},
		"duplicates":   {a + "\n" + b + "\n" + a + "\n", []string{a, b}, []int{1, 2}},
		"a CSV": {
			"\ufeffopenid,remark\n" + a + ",\"two\nlines, \"\"quoted\"\"\"\n" + `"` + b + `",x` + "\n" + c + "\n",
			[]string{a, b, c}, []int{2, 4, 5},
		},
		"no openids": {"# nobody\n", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := readMembers("members.txt", strings.NewReader(test.text))

			require.NoError(t, err)
			assert.Equal(t, test.want, m.openIDs)
			for i, id := range test.want {
				assert.Equal(t, test.lines[i], m.lines[id])
			}
			assert.Equal(t, name == "duplicates", m.duplicates == 1)
		})
	}
}

func TestInvalidLines(t *testing.T) {
	good := wechatusertest.OpenID(1)
	for text, want := range map[string]string{
		good + "\n10000000000\n":                  `line 2: "10000000000" is not an openid`,
		good + "\n\nopenid\n":                     `line 3: "openid" is not an openid`,
		good + " " + good + "\n":                  "line 1: ",
		good + ";x\n":                             "line 1: ",
		good + "\r" + good + "\n":                 "line 1: ",
		"," + good + "\n":                         `line 1: "" is not an openid`,
		good + "\n\x00\x00\n":                     "line 2: ",
		good + "\n" + good + "\"\n":               "line 2: ",
		good + "\n\"" + good + "\n" + good + "\n": "line 2: ",
		strings.Repeat("用户\n", 25):                "line 20: \"用户\" is not an openid\n  and 5 more",
	} {
		_, err := readMembers("members.txt", strings.NewReader(text))

		require.Error(t, err, "%q", text)
		assert.Contains(t, err.Error(), "members.txt has invalid lines; nothing was sent:\n  line ")
		assert.Contains(t, err.Error(), want)
	}
	_, err := readMembers("members.txt", strings.NewReader("a\n"+good+"\nb\"\nc\n"))
	for _, line := range []string{"line 1: ", "line 3: ", "line 4: "} {
		assert.ErrorContains(t, err, line, "all invalid lines are listed")
	}
}

// A read error is not taken for the end of the file.
func TestReadError(t *testing.T) {
	broken := errors.New("the disk is broken")
	text := strings.NewReader(wechatusertest.OpenID(1) + "\n")

	_, err := readMembers("members.txt", io.MultiReader(text, iotest.ErrReader(broken)))

	assert.ErrorIs(t, err, broken)
}

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out, io.Discard))
	assert.Contains(t, out.String(),
		"Using an in-memory account with 199 followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.")
	assert.Contains(t, out.String(), "to add          4")
	assert.Contains(t, out.String(), "to remove       2")
	assert.Contains(t, out.String(), "Dry run, nothing changed.")

	out.Reset()
	err := run(t.Context(), []string{"-apply"}, &out, io.Discard)
	require.ErrorIs(t, err, wechatuser.CodeUserUnsubscribed, "demo.txt has a former follower")
	assert.Contains(t, out.String(), "3 added, 2 removed, 6 unchanged, 1 rejected. API calls: ")

	file := filepath.Join(t.TempDir(), "members.csv")
	require.NoError(t, os.WriteFile(file, []byte("openid\n"+wechatusertest.OpenID(7)+"\n"), 0o600))
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-file", file, "-tag", "new", "-apply"}, &out, io.Discard))
	assert.Contains(t, out.String(), "1 added, 0 removed, 0 unchanged, 0 rejected. API calls: ")
}

// Invalid arguments and files are found before anything is sent: there is no account here to send it to.
func TestArgumentsAreCheckedFirst(t *testing.T) {
	good, bad := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "bad")
	require.NoError(t, os.WriteFile(good, []byte(wechatusertest.OpenID(1)), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte("x"), 0o600))
	t.Setenv("WECHAT_APPID", "wxTEST")
	t.Setenv("WECHAT_SECRET", "SENTINEL with spaces")
	for _, test := range []struct {
		want string
		args []string
	}{
		{"unexpected argument", []string{"members.txt"}},
		{"not defined", []string{"-dry-run"}},
		{"-tag and -file are required", []string{"-tag", "vip"}},
		{"-tag and -file are required", []string{"-file", good}},
		{"no such file", []string{"-tag", "vip", "-file", good + "x"}},
		{"invalid lines", []string{"-tag", "vip", "-file", bad, "-apply"}},
		{"secret", []string{"-tag", "vip", "-file", good, "-apply"}},
		{"help", []string{"-h"}},
	} {
		t.Run(fmt.Sprint(test.args), func(t *testing.T) {
			assert.ErrorContains(t, run(t.Context(), test.args, io.Discard, io.Discard), test.want)
		})
	}
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Sync (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`, help.String())
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}

func TestIncompleteCredential(t *testing.T) {
	t.Setenv("WECHAT_APPID", "wxTEST")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_SECRET is not")
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "SENTINEL")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_APPID is not")
}
