// Package data reads what a network is trained on: pictures of a folder or of a list in
// JSON lines, with captions, masks and classes.
//
// Files are hostile until checked: one that is damaged, missing or of another kind is an
// error with its name, before the training begins.
package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Item is a picture with what is known of it.
type Item struct {
	Path    string
	Mask    string // path of a picture whose white counts; "" without
	Caption string
	Class   int // index of Set.Classes, -1 without
}

// Set is a training set, in an order that does not depend on the system.
type Set struct {
	Items   []Item
	Classes []string // names, sorted; nil without
}

// Limits of a set.
const (
	maxItems   = 1 << 22
	maxList    = 1 << 30 // bytes of a list
	maxLine    = 1 << 20 // bytes of one of its lines
	maxCaption = 1 << 14 // bytes
	maxClasses = 1 << 16
)

// Open reads a set: a folder, or a file of JSON lines (.jsonl).
//
// A folder has pictures, or folders of pictures, which then are their classes. The caption
// of a.png is in a.txt, its mask, if there is one, in a.mask.png. Hidden files are left
// out.
//
// A line of a list is an object with the keys picture (or file_name), caption (or text),
// mask and class, a name or a number. Paths are relative to the list's folder, and within
// it.
func Open(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var s *Set
	switch {
	case info.IsDir():
		s, err = openFolder(path)
	case strings.EqualFold(filepath.Ext(path), ".jsonl"):
		s, err = openList(path)
	default:
		err = errors.New("must be a folder of pictures or a list that ends in .jsonl")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(s.Items) == 0 {
		return nil, fmt.Errorf("%s: has no pictures (%s)", path, strings.Join(endings, ", "))
	}
	return s, nil
}

var endings = []string{".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}

const maskEnding = ".mask.png"

// isPicture tells pictures by their names: a training set has other files, too.
func isPicture(name string) bool {
	return !strings.HasPrefix(name, ".") && !strings.HasSuffix(strings.ToLower(name), maskEnding) &&
		slices.Contains(endings, strings.ToLower(filepath.Ext(name)))
}

func openFolder(path string) (*Set, error) {
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, err
	}
	s := &Set{}
	if err := s.addFolder(path, entries, -1); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		below := filepath.Join(path, e.Name())
		inside, err := os.ReadDir(below)
		if err != nil {
			return nil, err
		}
		before := len(s.Items)
		if err := s.addFolder(below, inside, len(s.Classes)); err != nil {
			return nil, err
		}
		if len(s.Items) == before {
			continue // of something else
		}
		if s.Items[0].Class < 0 {
			return nil, fmt.Errorf("has pictures, and folders of pictures (%s): must be one or the other", e.Name())
		}
		if s.Classes = append(s.Classes, e.Name()); len(s.Classes) > maxClasses {
			return nil, fmt.Errorf("must have at most %d classes", maxClasses)
		}
	}
	return s, nil
}

// addFolder adds the pictures of a folder.
func (s *Set) addFolder(path string, entries []fs.DirEntry, class int) error {
	for _, e := range entries {
		if e.IsDir() || !isPicture(e.Name()) {
			continue
		}
		item := Item{Path: filepath.Join(path, e.Name()), Class: class}
		stem := strings.TrimSuffix(item.Path, filepath.Ext(item.Path))
		text, err := readFile(stem+".txt", maxCaption)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if item.Caption, err = caption(string(text)); err != nil {
			return fmt.Errorf("%s.txt: %w", stem, err)
		}
		if _, err := os.Stat(stem + maskEnding); err == nil {
			item.Mask = stem + maskEnding
		}
		if err := s.add(item); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) add(item Item) error {
	if len(s.Items) >= maxItems {
		return fmt.Errorf("must have at most %d pictures", maxItems)
	}
	s.Items = append(s.Items, item)
	return nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: must be at most %d bytes", path, limit)
	}
	return data, err
}

// caption checks a text, without the white space around it.
func caption(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "", errors.New("the caption must be text in UTF-8")
	case len(text) > maxCaption:
		return "", fmt.Errorf("the caption must be at most %d bytes, got %d", maxCaption, len(text))
	}
	return text, nil
}

// entry is a line of a list.
type entry struct {
	Picture  string          `json:"picture"`
	FileName string          `json:"file_name"`
	Caption  *string         `json:"caption"`
	Text     *string         `json:"text"`
	Mask     string          `json:"mask"`
	Class    json.RawMessage `json:"class"`
}

func openList(path string) (*Set, error) {
	data, err := readFile(path, maxList)
	if err != nil {
		return nil, err
	}
	s, names := &Set{}, []string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		item, class, err := parse(filepath.Dir(path), lines.Bytes())
		if err == nil {
			err = s.add(item)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		names = append(names, class)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return s, s.name(names)
}

// parse reads a line.
func parse(folder string, line []byte) (item Item, class string, err error) {
	var e entry
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return item, "", err
	}
	if d.More() {
		return item, "", errors.New("must be one object")
	}
	if e.Picture != "" && e.FileName != "" || e.Caption != nil && e.Text != nil {
		return item, "", errors.New("picture and file_name, and caption and text, are two names of one thing: must be one of them")
	}
	item.Class = -1
	if item.Path, err = within(folder, e.Picture+e.FileName); err != nil {
		return item, "", fmt.Errorf("picture: %w", err)
	}
	if e.Mask != "" {
		if item.Mask, err = within(folder, e.Mask); err != nil {
			return item, "", fmt.Errorf("mask: %w", err)
		}
	}
	for _, text := range []*string{e.Caption, e.Text} {
		if text != nil {
			if item.Caption, err = caption(*text); err != nil {
				return item, "", err
			}
		}
	}
	class, err = className(e.Class)
	return item, class, err
}

// within is the path of a file in a folder.
func within(folder, name string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("must be a path within the list's folder, got %.80q", name)
	}
	return filepath.Join(folder, filepath.FromSlash(name)), nil
}

// className reads a name, or a number, which becomes one.
func className(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var name string
	if json.Unmarshal(raw, &name) == nil {
		if name = strings.TrimSpace(name); name == "" || len(name) > 256 || !utf8.ValidString(name) {
			return "", errors.New("class: a name must have 1 to 256 bytes")
		}
		return name, nil
	}
	var number int
	if json.Unmarshal(raw, &number) != nil || number < 0 || number >= maxClasses {
		return "", fmt.Errorf("class: must be a name or a number from 0 to %d, got %.40s", maxClasses-1, raw)
	}
	return strconv.Itoa(number), nil
}

// name finds the classes of a list: all items have one or none has. Numbers are in their
// order, names in theirs.
func (s *Set) name(names []string) error {
	s.Classes = slices.Clone(names)
	slices.SortFunc(s.Classes, func(a, b string) int {
		x, err := strconv.Atoi(a)
		y, err2 := strconv.Atoi(b)
		if err == nil && err2 == nil && x != y {
			return x - y
		}
		return strings.Compare(a, b)
	})
	s.Classes = slices.Compact(s.Classes)
	if len(s.Classes) <= 1 && (len(s.Classes) == 0 || s.Classes[0] == "") {
		s.Classes = nil
		return nil
	}
	if s.Classes[0] == "" || slices.Contains(s.Classes, "") {
		return fmt.Errorf("%s: has no class, and others have: must be all or none", s.Items[slices.Index(names, "")].Path)
	}
	index := map[string]int{}
	for i, n := range s.Classes {
		index[n] = i
	}
	for i := range s.Items {
		s.Items[i].Class = index[names[i]]
	}
	return nil
}
