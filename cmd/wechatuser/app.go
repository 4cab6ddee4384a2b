package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wechatuser/wechatuser"
)

// app is one run of the tool, with its streams and its global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	chinese  bool
	settings settings
	json     bool // print results as JSON
	yes      bool // do not ask for confirmation
	anyway   bool // start although today's quota is too small for the plan

	secretLimit time.Duration // how long a secret_command may take
	isTerminal  func(stream any) bool

	interrupted   chan struct{}
	interruptOnce sync.Once
	sandboxed     *sandboxAccount // nil without --sandbox
}

func newApp(in io.Reader, out, err io.Writer, env func(string) string) *app {
	return &app{in: in, out: out, err: err, env: env, secretLimit: secretLimit, isTerminal: isTerminal, interrupted: make(chan struct{})}
}

// interrupt ends jobs and lists: calls in flight complete, and no new ones are started.
func (a *app) interrupt() { a.interruptOnce.Do(func() { close(a.interrupted) }) }

func (a *app) isInterrupted() bool {
	select {
	case <-a.interrupted:
		return true
	default:
		return false
	}
}

// interruptible returns a context that ends with an interrupt, for commands that need not complete their calls.
func (a *app) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.interrupted:
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

// Exit codes, documented in docs/cli.md.
const (
	exitOK       = 0
	exitFailed   = 1 // the command failed
	exitUsage    = 2 // wrong arguments or settings; nothing was changed
	exitRejected = 3 // done, but for some openids that were rejected
	exitStopped  = 4 // stopped before the end; the output says how to continue
	exitDeclined = 5 // nothing was changed: not confirmed, or today's quota is too small
)

// exitError is an error with its own exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// hintError is an error with a line that says how to continue.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() + "\n" + e.hint }
func (e *hintError) Unwrap() error { return e.err }

// usageError returns an error in the arguments or the settings.
func usageError(text string) error { return &exitError{exitUsage, errors.New(text)} }

var errInterrupted = errors.New("interrupted")

// run runs the tool and returns its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	a.chinese = isChinese(args, a.env)
	out := &results{Writer: a.out}
	a.out = out
	defer func() { a.out = out.Writer }()
	err := a.execute(ctx, args)
	if err == nil {
		err = out.err
	}
	if a.sandboxed != nil {
		err = errors.Join(err, a.sandboxed.close())
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(a.err, a.paint(a.err, red, "wechatuser: ")+visibleLines(a.explain(err)))
	return exitCode(err)
}

func (a *app) execute(ctx context.Context, args []string) error {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started(cmd) {
		return usageError(a.explainUsage(err) + "\n" + a.tr("See ", "参见 ") + cmd.CommandPath() + " --help")
	}
	return err
}

// started reports whether a command has started, which it does once its arguments are valid.
func (a *app) started(cmd *cobra.Command) bool { return cmd.Annotations[startedKey] != "" }

const startedKey = "started"

// command completes a command: its errors are printed once, by run, and its arguments are told from its work.
func (a *app) command(cmd *cobra.Command) *cobra.Command {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Annotations = map[string]string{}
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			cmd.Annotations[startedKey] = "yes"
			return work(cmd, args)
		}
	}
	return cmd
}

func exitCode(err error) int {
	if e := (*exitError)(nil); errors.As(err, &e) {
		return e.code
	}
	if ae := (*wechatuser.ArgumentError)(nil); errors.As(err, &ae) {
		return exitUsage
	}
	if be := (*wechatuser.BulkError)(nil); errors.As(err, &be) {
		if be.Stopped() {
			return exitStopped
		}
		return exitRejected
	}
	switch {
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitStopped
	default:
		return exitFailed
	}
}

// warn prints a warning.
func (a *app) warn(text string) {
	fmt.Fprintln(a.err, a.paint(a.err, yellow, a.tr("warning: ", "警告："))+visibleLines(text))
}

// tr returns the text in the language of the user.
func (a *app) tr(english, chinese string) string {
	if a.chinese {
		return chinese
	}
	return english
}

func isChineseName(language string) bool { return strings.HasPrefix(language, "zh") }

// isChinese reports whether to print Chinese, according to --lang or else to the locale.
func isChinese(args []string, env func(string) string) bool {
	for i, arg := range args {
		if lang, ok := strings.CutPrefix(arg, "--lang="); ok {
			return isChineseName(lang)
		}
		if arg == "--lang" && i+1 < len(args) {
			return isChineseName(args[i+1])
		}
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale := env(name); locale != "" {
			return isChineseName(locale)
		}
	}
	return false
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	if r, ok := stream.(*results); ok {
		stream = r.Writer
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
