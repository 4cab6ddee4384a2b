// Modproxy writes the modules of this repository, as if released with a version, to a folder that serves as a module
// proxy. It is for testing "go get" and "go install" before a release.
//
//	go run ./tools/modproxy -version v0.1.0 folder
//	GOPROXY=file:///folder,… GONOSUMDB=github.com/wechatuser go install …/cmd/wechatuser@v0.1.0
//
// A module consists of the files of its folder that git tracks or does not ignore, with uncommitted changes and without
// nested modules. The modules require each other with the given version.
package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/tools/internal/modules"
)

func main() {
	version := flag.String("version", "", "`version` of all modules, such as v0.1.0")
	root := flag.String("root", ".", "`folder` of the repository")
	flag.Parse()
	if *version == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(*root, flag.Arg(0), *version); err != nil {
		fmt.Fprintln(os.Stderr, "modproxy:", err)
		os.Exit(1)
	}
}

// write writes all modules that are released. For each it prints the path of the module and those of its packages.
func write(root, proxy, version string) error {
	all, err := modules.All(root)
	if err != nil {
		return err
	}
	for _, m := range all {
		if !m.Released() {
			continue
		}
		if err := release(root, proxy, m, version); err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		packages, err := m.Packages(root)
		if err != nil {
			return err
		}
		fmt.Println(strings.Join(append([]string{m.Path}, packages...), " "))
	}
	return nil
}

// release writes a module to the proxy; see https://go.dev/ref/mod#goproxy-protocol.
func release(root, proxy string, m modules.Module, version string) error {
	dir := filepath.Join(root, filepath.FromSlash(m.Dir))
	mod, err := releasedMod(dir, m, version)
	if err != nil {
		return err
	}
	content, err := pack(dir, m.Path+"@"+version, mod)
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	at := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
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

// releasedMod returns the go.mod that the module has in a release.
func releasedMod(dir string, m modules.Module, version string) ([]byte, error) {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	copied, err := os.MkdirTemp("", "modproxy")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(copied) }()
	if err := os.WriteFile(filepath.Join(copied, "go.mod"), mod, 0o600); err != nil {
		return nil, err
	}
	if err := modules.SetVersion(copied, modules.Module{Dir: ".", Requires: m.Requires}, version); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(copied, "go.mod"))
}

// pack returns the zip file of a module with this go.mod; see https://go.dev/ref/mod#zip-files.
func pack(dir, prefix string, mod []byte) ([]byte, error) {
	files, err := modules.Files(dir)
	if err != nil {
		return nil, err
	}
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
		content := mod
		if file != "go.mod" {
			if content, err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(file))); err != nil {
				return nil, err
			}
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
