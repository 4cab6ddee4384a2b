package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// settings holds the flags.
type settings struct {
	addr, appID, secret string
	fans, pageSize      int
	state               string
	quirks              wechatusertest.Quirks
	log                 bool
	options             []wechatusertest.Option // for -seed, -whitelist and -quotas
}

const usage = `Sandbox serves an in-memory Official Account on a port, with a web page to inspect it.

  go run ./examples/sandbox -addr 127.0.0.1:8080

`

func parse(args []string, stderr io.Writer) (settings, error) {
	var (
		set     settings
		latency time.Duration
		seed    uint64
	)
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&set.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free port")
	flags.StringVar(&set.appID, "appid", "wx0000000000000000", "app `ID` of the account")
	flags.StringVar(&set.secret, "secret", strings.Repeat("0", 32), "app `secret` of the account")
	flags.IntVar(&set.fans, "fans", 1000, "`number` of followers, ignored if the -state file exists")
	flags.StringVar(&set.state, "state", "", "`file` with the account: loaded at the start if it exists, saved at the end")
	flags.DurationVar(&latency, "latency", 0, "maximum latency of a call, such as 30ms")
	flags.Uint64Var(&seed, "seed", 0, "`seed` of the random numbers, for what happens with a probability")
	flags.IntVar(&set.pageSize, "pagesize", 0, "`number` of openids per page of a list; 0 means that of the platform")
	flags.BoolVar(&set.log, "log", false, "log each call to stderr")
	quirksUsage := "`quirks` of the platform: strict, wild, or wild:7 for wild with seed 7 (default strict)"
	flags.Func("quirks", quirksUsage, func(text string) (err error) {
		set.quirks, err = parseQuirks(text)
		return err
	})
	whitelistUsage := "`addresses` that may make calls, such as 127.0.0.1,203.0.113.0/24"
	flags.Func("whitelist", whitelistUsage, func(text string) error {
		set.options = append(set.options, wechatusertest.WithIPWhitelist(strings.Split(text, ",")...))
		return nil
	})
	flags.Func("quotas", "documented, or `path=day[/minute],…` such as /cgi-bin/user/get=5", func(text string) error {
		options, err := parseQuotas(text)
		set.options = append(set.options, options...)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	switch {
	case flags.NArg() > 0:
		return set, fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	case set.appID == "" || set.secret == "":
		return set, errors.New("-appid and -secret must not be empty")
	case set.fans < 0 || set.pageSize < 0 || latency < 0:
		return set, errors.New("-fans, -pagesize and -latency must not be negative")
	}
	if latency > 0 {
		set.quirks.Latency = latency
	}
	set.options = append(set.options, wechatusertest.WithSeed(seed))
	return set, nil
}

func parseQuirks(text string) (wechatusertest.Quirks, error) {
	name, number, seeded := strings.Cut(text, ":")
	switch {
	case text == "strict":
		return wechatusertest.Strict(), nil
	case text == "wild":
		return wechatusertest.Wild(0), nil
	case name == "wild" && seeded:
		seed, err := strconv.ParseUint(number, 10, 64)
		return wechatusertest.Wild(seed), err
	}
	return wechatusertest.Quirks{}, errors.New("it must be strict, wild or wild:seed")
}

func parseQuotas(text string) ([]wechatusertest.Option, error) {
	if text == "documented" {
		return []wechatusertest.Option{wechatusertest.WithDocumentedQuotas()}, nil
	}
	var options []wechatusertest.Option
	for one := range strings.SplitSeq(text, ",") {
		path, numbers, found := strings.Cut(one, "=")
		day, minute, _ := strings.Cut(numbers, "/")
		perDay, err := strconv.Atoi(day)
		perMinute := 0
		if minute != "" && err == nil {
			perMinute, err = strconv.Atoi(minute)
		}
		if !found || err != nil || perDay < 0 || perMinute < 0 {
			return nil, fmt.Errorf("%q must be like /cgi-bin/user/get=500 or /cgi-bin/user/get=500/60", one)
		}
		options = append(options, wechatusertest.WithQuota(path, perDay, perMinute))
	}
	return options, nil
}

// shownCalls is the number of calls on the page.
const shownCalls = 50

// account creates the account. The options more are applied after those of the flags.
func (set settings) account(
	stderr io.Writer, more ...wechatusertest.Option,
) (account *wechatusertest.Server, err error) {
	options := append(set.options,
		wechatusertest.WithoutListener(), wechatusertest.WithAccount(set.appID, set.secret),
		wechatusertest.WithFans(set.fans), wechatusertest.WithPageSize(set.pageSize),
		wechatusertest.WithQuirks(set.quirks), wechatusertest.WithRequestLog(shownCalls))
	if set.log {
		options = append(options, wechatusertest.WithRequestHook((&callLog{w: stderr, secret: set.secret}).write))
	}
	err = try(func() { account = wechatusertest.NewServer(append(options, more...)...) })
	return account, err
}

// try calls f and returns a panic of wechatusertest as an error. Such a panic reports an invalid argument, which here
// is the user's input.
func try(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case string:
			text := strings.TrimPrefix(p, "wechatusertest: ")
			if _, rest, found := strings.Cut(text, ": "); found { // drops the name of the Go function
				text = rest
			}
			err = errors.New(strings.TrimPrefix(text, "wechatuser: "))
		default:
			panic(p)
		}
	}()
	f()
	return nil
}
