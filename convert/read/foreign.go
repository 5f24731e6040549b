package read

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sdgo/sdgo/convert/checkpoint"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// foreignError says what a file is that is no model which this package reads, and what
// helps.
type foreignError struct{ what, help string }

func (e *foreignError) Error() string {
	if e.help == "" {
		return e.what
	}
	return e.what + ": " + e.help
}

func (e *foreignError) Unwrap() error { return model.ErrUnrecognized }

// foreign is a file that could not be read. Only head and tail are looked at: a file may
// have many gigabytes.
type foreign struct {
	path, name string // name is the file's, in lower case
	data       []byte
	head, tail []byte
}

// Bytes that are looked at, at either end.
const (
	headBytes = 64 << 10
	tailBytes = 64
)

// explained is the error of reading a file in terms of what the file is, where that is
// known, and says what helps.
func explained(path string, data []byte, err error) error {
	if err == nil {
		return nil
	}
	f := newForeign(path, data)
	if e := f.explain(foreignKinds()); e != nil {
		return e
	}
	if partial := partialName(f.name); partial != "" {
		return &foreignError{"an unfinished download, whose name ends in " + partial, "let it finish, or download the file again"}
	}
	if isCutOff(err) {
		return fmt.Errorf("%w; the download did not finish: download the file again", err)
	}
	return err
}

// explainedText is explained for a text that a folder has beside its weights.
func explainedText(path string, text []byte, err error) error {
	if e := newForeign(path, text).explain(failedDownloads()); e != nil {
		return e
	}
	return err
}

func newForeign(path string, data []byte) foreign {
	return foreign{path: path, name: strings.ToLower(filepath.Base(path)), data: data,
		head: data[:min(len(data), headBytes)], tail: data[max(0, len(data)-tailBytes):]}
}

// explain is the error of the first of some kinds that the file is of, or nil.
func (f foreign) explain(kinds []foreignKind) error {
	for _, k := range kinds {
		if !k.is(f) {
			continue
		}
		e := &foreignError{k.what, k.help}
		if k.more != nil {
			e.what += k.more(f)
		}
		return e
	}
	return nil
}

// isCutOff reports whether an error is that of a file that ends too early.
func isCutOff(err error) bool {
	return errors.Is(err, safetensors.ErrCutOff) || errors.Is(err, gguf.ErrCutOff) || errors.Is(err, checkpoint.ErrCutOff)
}

// partialName is the ending that browsers and programs give downloads in progress, or "".
func partialName(name string) string {
	for _, ending := range []string{".part", ".partial", ".crdownload", ".download", ".incomplete", ".opdownload", ".filepart", ".!ut", ".!qb", ".aria2", ".tmp"} {
		if strings.HasSuffix(name, ending) {
			return ending
		}
	}
	return ""
}

// unfinished looks for the file that a program keeps beside one that it still downloads.
// aria2 gives that one its full length at once, with zeros for what is not there yet.
func unfinished(path string) error {
	if !isRegular(path) || !isRegular(path+".aria2") { // Windows has devices with any ending, such as NUL.aria2
		return nil
	}
	return &foreignError{"an unfinished download: aria2's " + filepath.Base(path) + ".aria2 is beside it", "run aria2c -c again, or remove that file if you know that this one is complete"}
}

func isRegular(path string) bool {
	s, err := os.Stat(path)
	return err == nil && s.Mode().IsRegular()
}

// foreignKind is a kind of file that is no model for this package.
type foreignKind struct {
	what, help string
	is         func(f foreign) bool
	more       func(f foreign) string // after what
}

// begins is the test for a file that begins with some bytes.
func begins(magic ...string) func(foreign) bool {
	return func(f foreign) bool {
		for _, m := range magic {
			if bytes.HasPrefix(f.head, []byte(m)) {
				return true
			}
		}
		return false
	}
}

// ends is the test for a name.
func ends(endings ...string) func(foreign) bool {
	return func(f foreign) bool {
		for _, e := range endings {
			if strings.HasSuffix(f.name, e) {
				return true
			}
		}
		return false
	}
}

// hasBytes is the test for bytes at an offset.
func hasBytes(at int, text string) func(foreign) bool {
	return func(f foreign) bool { return len(f.head) >= at && bytes.HasPrefix(f.head[at:], []byte(text)) }
}

func either(tests ...func(foreign) bool) func(foreign) bool {
	return func(f foreign) bool {
		for _, is := range tests {
			if is(f) {
				return true
			}
		}
		return false
	}
}

// markup is the beginning of a text in lower case, without blanks and a byte order mark
// before it.
func markup(f foreign) string {
	text := bytes.TrimPrefix(f.head[:min(len(f.head), 4096)], []byte("\xef\xbb\xbf"))
	return strings.ToLower(strings.TrimLeft(strings.ToValidUTF8(string(text), ""), " \t\r\n"))
}

func isHTML(f foreign) bool {
	text := markup(f)
	for strings.HasPrefix(text, "<!--") || strings.HasPrefix(text, "<?xml") {
		_, rest, ok := strings.Cut(text, ">")
		if !ok {
			return false
		}
		text = strings.TrimLeft(rest, " \t\r\n")
	}
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body", "<title", "<script"} {
		if strings.HasPrefix(text, tag) {
			return true
		}
	}
	return false
}

var titleTag = regexp.MustCompile(`(?is)<title[^>]*>\s*(.{1,60}?)\s*</title>`)

// titleOf is the page's title, such as "Log in".
func titleOf(f foreign) string {
	if m := titleTag.FindSubmatch(f.head); m != nil {
		return fmt.Sprintf(" (%q)", m[1])
	}
	return ""
}

func isXML(f foreign) bool { return strings.HasPrefix(markup(f), "<?xml") || isOpenVINO(f) }

func isOpenVINO(f foreign) bool {
	text := markup(f)
	return strings.HasPrefix(text, "<") && strings.Contains(text, "<net ") && strings.Contains(text, "<layer")
}

// isJSON reports whether a file is JSON text with a member.
func isJSON(members ...string) func(foreign) bool {
	return func(f foreign) bool {
		text := markup(f)
		if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") || !isText(f) {
			return false
		}
		for _, m := range members {
			if !bytes.Contains(f.head, strconv.AppendQuote(nil, m)) {
				return false
			}
		}
		return true
	}
}

// lfsSize is the size of the file that a pointer of Git LFS stands for.
func lfsSize(f foreign) string {
	for line := range strings.Lines(string(f.head[:min(len(f.head), 1024)])) {
		if n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(line, "size ")), 10, 63); err == nil {
			return fmt.Sprintf(" to a file of %d bytes", n)
		}
	}
	return ""
}

// isMessagePack recognises what flax writes: a map whose first key is a text.
func isMessagePack(f foreign) bool {
	if len(f.head) < 8 {
		return false
	}
	at := 1
	switch b := f.head[0]; {
	case b >= 0x81 && b <= 0x8f:
	case b == 0xde:
		at = 3
	case b == 0xdf:
		at = 5
	default:
		return false
	}
	n, key := 0, f.head[at+1:]
	switch b := f.head[at]; {
	case b > 0xa0 && b <= 0xbf:
		n = int(b & 0x1f)
	case b == 0xd9:
		n, key = int(key[0]), key[1:]
	}
	return n > 0 && n <= len(key) && isPrintable(key[:n])
}

// protobuf is the first fields of a message of protocol buffers whose first field is a
// small number: that of the second, and its bytes.
func protobuf(f foreign) (field int, body []byte, ok bool) {
	h := f.head
	if len(h) < 4 || h[0] != 0x08 || h[1] == 0 || h[1] > 40 || h[2]&7 != 2 {
		return 0, nil, false
	}
	length, at := 0, 3
	for shift := 0; at < len(h) && shift < 28; shift += 7 {
		length |= int(h[at]&0x7f) << shift
		if at++; h[at-1] < 0x80 {
			break
		}
	}
	rest := h[at:]
	return int(h[2] >> 3), rest[:min(max(length, 0), len(rest))], true
}

// isONNX recognises ONNX's ModelProto: a version of the format, then the program that
// wrote it, the operators' versions (8) or the graph (7).
func isONNX(f foreign) bool {
	if ends(".onnx", ".ort")(f) || hasBytes(4, "ORTM")(f) {
		return true
	}
	field, body, ok := protobuf(f)
	return ok && (field == 2 && len(body) > 0 && body[0] >= ' ' && isPrintable(body) || field == 7 || field == 8)
}

// isTensorFlow recognises TensorFlow's files: programs, the tables of its checkpoints
// and these themselves.
func isTensorFlow(f foreign) bool {
	field, body, ok := protobuf(f)
	saved := ok && f.head[1] == 1 && field == 2 && (bytes.Contains(body, []byte("serve")) || bytes.Contains(body, []byte("tensorflow")))
	table := bytes.HasSuffix(f.tail, []byte("\x57\xfb\x80\x8b\x24\x75\x47\xdb"))
	return saved || table || ends(".pb", ".pbtxt", ".meta")(f) || tfData.MatchString(f.name)
}

var tfData = regexp.MustCompile(`\.data-\d{5}-of-\d{5}$`)

func isCoreML(f foreign) bool {
	field, body, ok := protobuf(f) // a description, whose first field is an input
	return ends(".mlmodel")(f) || ok && field == 2 && len(body) > 2 && body[0] == 0x0a
}

// hasBeside is the test for a file that lies beside this one, with another ending.
func hasBeside(own, other string) func(foreign) bool {
	return func(f foreign) bool {
		if !strings.HasSuffix(f.name, own) {
			return false
		}
		_, err := os.Lstat(f.path[:len(f.path)-len(own)] + other)
		return err == nil
	}
}

func isZeros(f foreign) bool { return len(f.head) >= 16 && len(bytes.Trim(f.head, "\x00")) == 0 }

func isEmpty(f foreign) bool { return len(f.data) == 0 }

// isText reports whether a file begins with text.
func isText(f foreign) bool {
	head := f.head[:min(len(f.head), 512)]
	for i := 0; i < 3 && !utf8.Valid(head) && len(f.head) > len(head); i++ { // a letter that is cut
		head = head[:len(head)-1]
	}
	return len(head) > 0 && isPrintable(head)
}

func isPrintable(text []byte) bool {
	return utf8.Valid(text) && bytes.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) < 0
}

// beginning is that of a text.
func beginning(f foreign) string {
	line, _, _ := strings.Cut(string(f.head[:min(len(f.head), 40)]), "\n")
	return fmt.Sprintf(", which begins with %q", strings.ToValidUTF8(strings.TrimSpace(line), ""))
}

// shardName is the name of one of the files of a model.
var shardName = regexp.MustCompile(`(?i)^(.+)-(\d{3,6})-of-(\d{3,6})\.[a-z0-9]+$`)

// asShard adds to an error that the file is one of several, where its name says so.
func asShard(path string, err error) error {
	m := shardName.FindStringSubmatch(filepath.Base(path))
	if err == nil || m == nil {
		return err
	}
	n, _ := strconv.Atoi(m[2])
	of, _ := strconv.Atoi(m[3])
	if of < 2 {
		return err
	}
	return fmt.Errorf("%w; the name says that this is part %d of %d: give the folder that has all of them and their index", err, n, of)
}

// splitGGUF refuses a part of a GGUF file, which says so itself.
func splitGGUF(metadata map[string]string) error {
	of, err := strconv.Atoi(metadata["split.count"])
	if err != nil || of < 2 {
		return nil
	}
	n, _ := strconv.Atoi(metadata["split.no"])
	return &foreignError{fmt.Sprintf("part %d of %d of a split GGUF file", n+1, of), "llama-gguf-split --merge FIRST OUT of llama.cpp puts them together"}
}

// isErrorOfServer reports whether JSON text is a refusal.
func isErrorOfServer(f foreign) bool {
	var o map[string]json.RawMessage
	if !isJSON()(f) || json.Unmarshal(f.head, &o) != nil {
		return false
	}
	return o["error"] != nil || o["message"] != nil || o["detail"] != nil
}
