package picture

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Format is a file format that pictures are written in.
type Format string

// The formats.
const (
	PNG  Format = "png"  // lossless
	JPEG Format = "jpeg" // lossy, small
	WebP Format = "webp" // lossless, smaller than PNG
)

// Name is the format's usual spelling, such as "WebP".
func (f Format) Name() string {
	if f == WebP {
		return "WebP"
	}
	return strings.ToUpper(string(f))
}

// Extension is the usual extension of the format's files.
func (f Format) Extension() string {
	if f == JPEG {
		return ".jpg"
	}
	return "." + string(f)
}

// ParseFormat parses a format's name.
func ParseFormat(name string) (Format, error) {
	switch f := Format(strings.ToLower(name)); f {
	case PNG, JPEG, WebP:
		return f, nil
	case "jpg":
		return JPEG, nil
	}
	return "", fmt.Errorf("must be png, jpeg or webp, got %q", name)
}

// FormatOf is the format that the extension of a file's name stands for.
func FormatOf(path string) (f Format, ok bool) {
	f, err := ParseFormat(strings.TrimPrefix(filepath.Ext(path), "."))
	return f, err == nil
}
