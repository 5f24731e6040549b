package cgo

// #include "sdgo.h"
import "C"

import (
	"bytes"
	"debug/elf"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

const (
	stampSymbol = "sdgo_ggml_version"
	stampText   = stampSymbol + "=" // before the version; third_party/stamp.c
	maxStamp    = 128               // bytes
)

var errNoStamp = errors.New("it is not a plugin built for sdgo: make vulkan and make cuda build them")

// checkStamp reads from a plugin's file which version of ggml's module it was built
// from. It comes first because loading a library runs its code.
func checkStamp(path string) error {
	var stamp string
	var err error
	switch runtime.GOOS {
	case "windows":
		stamp, err = stampOfPE(path)
	case "darwin":
		return errNoStamp // Metal is linked in, and there are no others
	default:
		stamp, err = stampOfELF(path)
	}
	if err != nil {
		return errNoStamp
	}
	version, ok := strings.CutPrefix(stamp, stampText)
	expected := C.GoString(C.sdgo_plugin_version())
	switch {
	case !ok:
		return errNoStamp
	case version != expected:
		return fmt.Errorf("it must be built from version %s of ggml's module, got %.50q: build it again", expected, version)
	}
	return nil
}

// stampOfELF returns the text at the symbol's address.
func stampOfELF(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return "", err
	}
	for _, s := range symbols {
		if s.Name != stampSymbol || s.Section == elf.SHN_UNDEF {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && s.Value >= p.Vaddr && s.Value-p.Vaddr < p.Filesz {
				return text(io.NewSectionReader(p.ReaderAt, int64(s.Value-p.Vaddr), maxStamp))
			}
		}
	}
	return "", errNoStamp
}

// stampOfPE searches the constants for the text.
func stampOfPE(path string) (string, error) {
	f, err := pe.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, s := range f.Sections {
		if s.Name != ".rdata" && s.Name != ".data" {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return "", err
		}
		if at := bytes.Index(data, []byte(stampText)); at >= 0 {
			return text(bytes.NewReader(data[at:]))
		}
	}
	return "", errNoStamp
}

// text reads a string that ends with a zero.
func text(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxStamp))
	if err != nil {
		return "", err
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", errNoStamp
	}
	return string(b[:end]), nil
}

// checkTrust refuses what other users of this machine could have put there: a file, or a
// folder of files, that everybody can write to, or that belongs to neither this user nor
// the system.
func checkTrust(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	kind := "a file"
	if info.IsDir() {
		kind = "in a folder"
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("it is %s that everybody can write to; %s names folders that are trusted all the same", kind, PluginPath)
	}
	if !ownedByUs(info) {
		return fmt.Errorf("it is %s that belongs to another user; %s names folders that are trusted all the same", kind, PluginPath)
	}
	return nil
}
