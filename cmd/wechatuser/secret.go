package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// secretSource returns the app secret.
type secretSource func(context.Context) (string, error)

// secretLimit is the timeout of a secret_command.
const secretLimit = 30 * time.Second

// secretOf returns the source of an account's app secret.
func (a *app) secretOf(acc account) (secretSource, error) {
	given := 0
	for _, set := range []bool{acc.Secret != "", acc.SecretFile != "", len(acc.SecretCommand) > 0} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, usageError(a.tr("an account has one of secret, secret_file and secret_command",
			"secret、secret_file 和 secret_command 只能设置一个"))
	case len(acc.SecretCommand) > 0:
		return func(ctx context.Context) (string, error) { return a.runSecretCommand(ctx, acc.SecretCommand) }, nil
	case acc.SecretFile != "":
		return func(context.Context) (string, error) { return a.readSecretFile(acc.SecretFile) }, nil
	case acc.Secret != "":
		return func(context.Context) (string, error) { return acc.Secret, nil }, nil
	case acc.name != "":
		return nil, usageError(fmt.Sprintf(a.tr(
			"%s: the account %q has no app secret: set secret_command, secret_file or secret (WECHAT_SECRET is that of WECHAT_APPID)",
			"%s：账号 %q 没有 AppSecret：请设置 secret_command、secret_file 或 secret（WECHAT_SECRET 只用于 WECHAT_APPID）"),
			acc.file, acc.name))
	}
	return nil, usageError(fmt.Sprintf(a.tr("no app secret for %s: set WECHAT_SECRET, or use an account of a config file",
		"%s 没有 AppSecret：请设置 WECHAT_SECRET，或使用配置文件中的账号"), acc.AppID))
}

// readSecret reads the secret before the first call, so that a source that fails is reported as a wrong setting. The
// source is read again for each later token request, so that a changed secret is used.
func (a *app) readSecret(ctx context.Context, source secretSource) (first string, later secretSource, err error) {
	if first, err = source(ctx); errors.Is(err, errInterrupted) {
		return "", nil, err
	}
	if err != nil {
		return "", nil, &exitError{exitUsage, err}
	}
	var used atomic.Bool
	return first, func(ctx context.Context) (string, error) {
		if used.CompareAndSwap(false, true) {
			return first, nil
		}
		return source(ctx)
	}, nil
}

func (a *app) readSecretFile(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("secret_file: %w", err)
	}
	secret := trimSecret(text)
	if secret == "" {
		return "", fmt.Errorf(a.tr("secret_file %s is empty", "secret_file %s 是空文件"), file)
	}
	return secret, nil
}

// trimSecret removes white space around a secret, and a byte order mark, which some editors add.
func trimSecret(text []byte) string {
	return strings.TrimSpace(strings.TrimPrefix(string(text), "\ufeff"))
}

// runSecretCommand returns the output of a command. Its error does not show what the command printed, on stdout or
// stderr, since either may have the secret.
func (a *app) runSecretCommand(ctx context.Context, command []string) (string, error) {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	limited, cancel := context.WithTimeout(ctx, a.secretLimit)
	defer cancel()
	cmd := exec.CommandContext(limited, command[0], command[1:]...)
	cmd.WaitDelay = time.Second
	restore := ownGroup(cmd)
	out, err := cmd.Output()
	restore()
	if diedOfInterrupt(cmd.ProcessState) { // a terminal sends Ctrl-C to the group in its foreground only
		a.interrupt()
	}
	switch {
	case err != nil && a.isInterrupted():
		return "", errInterrupted
	case err != nil && errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil:
		return "", fmt.Errorf(a.tr("secret_command %s did not end within %v, and was ended",
			"secret_command %s 在 %v 内没有结束，已被终止"), command[0], a.secretLimit)
	case errors.Is(err, exec.ErrWaitDelay): // it is done, and a program that it started still runs
	case err != nil:
		return "", fmt.Errorf("secret_command %s: %w", command[0], err)
	}
	secret := trimSecret(out)
	if secret == "" {
		return "", fmt.Errorf(a.tr("secret_command %s printed nothing", "secret_command %s 没有输出"), command[0])
	}
	return secret, nil
}
