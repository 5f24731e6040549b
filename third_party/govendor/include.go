package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	cgoLine     = regexp.MustCompile(`(?m)^\s*(?://)?\s*#cgo\b.*$`)
	includeFlag = regexp.MustCompile(`\s-I\s*([^\s"']+)`)
)

// missingFolders are the folders of a module that #cgo lines of its vendored packages
// name, and that are missing in the vendor folder.
func missingFolders(vendor, module string, packages []string) ([]string, error) {
	seen := map[string]bool{}
	var missing []string
	for _, p := range packages {
		named, err := includeFolders(filepath.Join(vendor, filepath.FromSlash(p)))
		if err != nil {
			return nil, err
		}
		for _, n := range named {
			n = path.Join(strings.TrimPrefix(strings.TrimPrefix(p, module), "/"), n)
			if seen[n] || !filepath.IsLocal(filepath.FromSlash(n)) {
				continue // outside the module
			}
			seen[n] = true
			n = filepath.FromSlash(n)
			if _, err := os.Stat(filepath.Join(vendor, filepath.FromSlash(module), n)); os.IsNotExist(err) {
				missing = append(missing, n)
			}
		}
	}
	return missing, nil
}

// includeFolders are the folders that a package's #cgo lines name, relative to
// the package, which is where the compiler runs.
func includeFolders(pkg string) ([]string, error) {
	files, err := os.ReadDir(pkg)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(pkg, f.Name()))
		if err != nil {
			return nil, err
		}
		for _, line := range cgoLine.FindAllString(string(text), -1) {
			for _, m := range includeFlag.FindAllStringSubmatch(line, -1) {
				if folder := strings.TrimPrefix(m[1], "${SRCDIR}/"); !path.IsAbs(folder) {
					all = append(all, folder)
				}
			}
		}
	}
	return all, nil
}
