package cgo

// #include <stdlib.h>
// #include "sdgo.h"
import "C"

import (
	"context"
	"debug/elf"
	"debug/pe"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// Plugin is a file with one of ggml's GPU devices, such as libggml-vulkan.so.
type Plugin struct {
	Path string
	Err  error // why it could not be loaded; nil if it was
}

// PluginPath is the environment variable that names folders with plugins
// before all others, separated as in PATH.
const PluginPath = "SDGO_BACKEND_PATH"

// Plugins looks for plugins and loads them, once in a program: ggml cannot unload them.
// Of several with one name the first that is found counts, as with programs in PATH.
var Plugins = sync.OnceValue(func() []Plugin {
	var all []Plugin
	named, own := pluginFolders()
	for _, path := range findPlugins(append(named, own...)) {
		var err error
		if folder := filepath.Dir(path); !slices.ContainsFunc(named, func(name string) bool { return same(name, folder) }) {
			err = errors.Join(checkTrust(folder), checkTrust(path))
		}
		if err == nil {
			err = loadPlugin(path)
		}
		all = append(all, Plugin{path, err})
	}
	return all
})

// pluginFolders are the folders where plugins are looked for: those of the
// environment, then the program's own and those that `make install` and `make
// vulkan` fill.
func pluginFolders() (named, own []string) {
	for _, folder := range filepath.SplitList(os.Getenv(PluginPath)) {
		if folder != "" {
			named = append(named, folder)
		}
	}
	program, err := os.Executable()
	if err != nil {
		return named, nil
	}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	here := filepath.Dir(program)
	return named, []string{here, filepath.Join(here, "..", "lib", "sdgo"), filepath.Join(here, "lib", "sdgo")}
}

// same reports whether two paths are one folder.
func same(a, b string) bool {
	one, errA := os.Stat(a)
	other, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(one, other)
}

// findPlugins lists the plugins in some folders, the first of each name.
func findPlugins(folders []string) []string {
	pattern := "libggml-*.so"
	if runtime.GOOS == "windows" {
		pattern = "*ggml-*.dll" // with or without "lib": compilers differ
	}
	var paths, names []string
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := e.Name()
			if ok, _ := filepath.Match(pattern, name); !ok || slices.Contains(names, name) || strings.Contains(name, "ggml-base") {
				continue
			}
			if path, err := filepath.Abs(filepath.Join(folder, name)); err == nil {
				paths, names = append(paths, path), append(names, name)
			}
		}
	}
	return paths
}

func loadPlugin(path string) error {
	if err := checkLibrary(path); err != nil {
		return err
	}
	if err := checkStamp(path); err != nil {
		return err
	}
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	var e C.sdgo_error
	if !C.sdgo_plugin_load(c, &e) {
		return newError(context.Background(), &e)
	}
	return nil
}

// checkLibrary checks what the system's loader doesn't: that the file is as long as its
// own headers say. Loading a truncated library ends the program with a bus error.
func checkLibrary(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("it is not a regular file")
	}
	var end uint64 // of what is to be loaded
	switch runtime.GOOS {
	case "windows":
		end, err = endOfPE(path)
	case "darwin":
		return nil
	default:
		end, err = endOfELF(path)
	}
	if err != nil {
		return fmt.Errorf("it is not a shared library: %w", err)
	}
	if size := uint64(info.Size()); end > size {
		return fmt.Errorf("it is cut off: it must have %d bytes, got %d", end, size)
	}
	return nil
}

func endOfELF(path string) (end uint64, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if f.Type != elf.ET_DYN {
		return 0, fmt.Errorf("its type is %s", f.Type)
	}
	for _, p := range f.Progs {
		if p.Filesz > math.MaxUint64-p.Off {
			return math.MaxUint64, nil
		}
		end = max(end, p.Off+p.Filesz)
	}
	return end, nil
}

func endOfPE(path string) (end uint64, err error) {
	f, err := pe.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if f.Characteristics&pe.IMAGE_FILE_DLL == 0 {
		return 0, errors.New("it is a program")
	}
	for _, s := range f.Sections {
		end = max(end, uint64(s.Offset)+uint64(s.Size))
	}
	return end, nil
}
