// Modproxy writes the modules of this repository into a folder that serves as a module proxy, as if they were released.
// So "go get" and "go install" can be tried before a release.
//
//	go run ./tools/modproxy -version v0.1.0 folder . redisstore cmd/wechatuser
//	GOPROXY=file:///folder,direct GONOSUMDB=github.com/wechatuser GOFLAGS=-mod=mod go install …/cmd/wechatuser@v0.1.0
//
// A module is what git knows of its folder, without nested modules; uncommitted changes count.
package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "`version` of all modules, such as v0.1.0")
	flag.Parse()
	if *version == "" || flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	for _, dir := range flag.Args()[1:] {
		if err := release(flag.Arg(0), dir, *version); err != nil {
			fmt.Fprintln(os.Stderr, "modproxy:", err)
			os.Exit(1)
		}
	}
}

var moduleLine = regexp.MustCompile(`(?m)^module (\S+)$`)

// release writes a module into the proxy.
func release(proxy, dir, version string) error {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	found := moduleLine.FindSubmatch(mod)
	if found == nil {
		return fmt.Errorf("%s: no module line", dir)
	}
	module := string(found[1])
	content, err := pack(dir, module+"@"+version)
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	at := filepath.Join(proxy, filepath.FromSlash(module), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(at, "list"), []byte(version+"\n"), 0o600),
		os.WriteFile(filepath.Join(at, version+".info"), info, 0o600),
		os.WriteFile(filepath.Join(at, version+".mod"), mod, 0o600),
		os.WriteFile(filepath.Join(at, version+".zip"), content, 0o600),
	)
}

// pack returns the zip file of a module: https://go.dev/ref/mod#zip-files.
func pack(dir, prefix string) ([]byte, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	list, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	files := strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00")
	nested := map[string]bool{}
	for _, file := range files {
		if folder, name := path.Split(file); name == "go.mod" && folder != "" {
			nested[folder] = true
		}
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, file := range files {
		if inNested(nested, file) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			return nil, err
		}
		f, err := w.Create(prefix + "/" + file)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func inNested(nested map[string]bool, file string) bool {
	for folder := range nested {
		if strings.HasPrefix(file, folder) {
			return true
		}
	}
	return false
}
