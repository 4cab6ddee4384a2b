// Termshot draws pictures of a terminal that runs the command-line tool. It builds the tool, runs some commands in a
// shell, and draws them with their output, once in English and once in Chinese:
//
//	go run ./tools/termshot
//
// It writes to docs/images, or to the folder that is its argument. It needs a POSIX shell.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

// commands has the commands that a picture shows.
var commands = []string{
	"wechatuser --sandbox doctor",
	"wechatuser --sandbox fans | sed -n 4,300p > members.txt",
	"wechatuser --sandbox sync vip members.txt --yes",
}

// pictures maps the name of a file to the locale of its commands.
var pictures = map[string]string{
	"terminal.svg":       "en_US.UTF-8",
	"terminal.zh-CN.svg": "zh_CN.UTF-8",
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "termshot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	folder := filepath.Join("docs", "images")
	switch len(args) {
	case 0:
	case 1:
		folder = args[0]
	default:
		return errors.New("usage: termshot [folder]")
	}
	bin, err := os.MkdirTemp("", "termshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	build := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join("cmd", "wechatuser"), "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the tool, start termshot at the root of the repository: %w\n%s", err, out)
	}
	for name, locale := range pictures {
		shown, err := record(ctx, bin, locale, commands)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), draw(shown), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// record runs the commands in an empty folder and returns the lines that a terminal would show.
func record(ctx context.Context, bin, locale string, commands []string) ([]line, error) {
	dir, err := os.MkdirTemp("", "termshot-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var shown []line
	for _, command := range commands {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Dir = dir
		// Do not use the settings and the proxy of the user.
		path := bin + string(os.PathListSeparator) + os.Getenv("PATH")
		cmd.Env = []string{"PATH=" + path, "HOME=" + dir, "LANG=" + locale}
		cmd.Stdout, cmd.Stderr = &out, &out // one writer, so that the order is that of a terminal
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", command, err, &out)
		}
		if len(shown) > 0 {
			shown = append(shown, line{})
		}
		shown = append(shown, line{text: command, command: true})
		for text := range bytes.Lines(out.Bytes()) {
			shown = append(shown, line{text: string(bytes.TrimSuffix(text, []byte("\n")))})
		}
	}
	return shown, nil
}
