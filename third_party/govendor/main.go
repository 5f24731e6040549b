// Command govendor vendors a module that uses sdgo: it runs "go mod vendor" and adds
// folders that are missing.
//
//	go run -mod=mod github.com/sdgo/sdgo/third_party/govendor
//
// "go mod vendor" copies folders with Go files alone (https://go.dev/issue/26366),
// but ggml's headers lie in a folder without any. So every folder that a vendored
// package's #cgo lines name with -I, for whichever system, is copied from the
// module cache if the vendor folder lacks it.
package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: go run -mod=mod github.com/sdgo/sdgo/third_party/govendor (in the module to vendor)")
		os.Exit(2)
	}
	if err := vendor(); err != nil {
		fmt.Fprintln(os.Stderr, "govendor:", err)
		os.Exit(1)
	}
}

func vendor() error {
	if _, err := run("mod", "vendor"); err != nil {
		return err
	}
	mod, err := run("env", "GOMOD")
	if err != nil {
		return err
	}
	folder := filepath.Join(filepath.Dir(mod), "vendor")
	list, err := os.ReadFile(filepath.Join(folder, "modules.txt"))
	if os.IsNotExist(err) {
		return nil // a module without dependencies
	}
	if err != nil {
		return err
	}
	packages := packagesOf(string(list))
	for _, module := range slices.Sorted(maps.Keys(packages)) {
		missing, err := missingFolders(folder, module, packages[module])
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			continue
		}
		source, err := run("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module)
		if err != nil {
			return err
		}
		for _, m := range missing {
			if err := add(filepath.Join(folder, filepath.FromSlash(module), m), filepath.Join(source, m)); err != nil {
				return err
			}
		}
	}
	return nil
}

// packagesOf reads vendor/modules.txt: "# module version" and below it the
// module's packages, one a line; other lines begin with "##".
func packagesOf(list string) map[string][]string {
	all := map[string][]string{}
	module := ""
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if header, ok := strings.CutPrefix(line, "# "); ok {
			module, _, _ = strings.Cut(header, " ")
		} else if line != "" && !strings.HasPrefix(line, "#") {
			all[module] = append(all[module], line)
		}
	}
	return all
}

// add copies a folder of a module, if it exists: some flags name folders that don't.
func add(to, from string) error {
	if _, err := os.Stat(from); os.IsNotExist(err) {
		return nil
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	fmt.Println("added", to)
	return nil
}

// run runs the go command and returns what it prints.
func run(args ...string) (string, error) {
	c := exec.Command("go", args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
