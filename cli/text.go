package cli

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// byteOrderMark is what some editors begin a file in UTF-8 with.
const byteOrderMark = "\xef\xbb\xbf"

// Errors of text files that are not what they seem.
var (
	errNoText   = errors.New("must be a text in UTF-8 or UTF-16")
	errNoUTF16  = errors.New("must be UTF-16, as which it begins: half of a pair of units stands alone")
	errHalfUnit = errors.New("must be UTF-16, as which it begins: it ends within a unit")
)

// sniffedText is how many bytes of a text file say which encoding it has.
const sniffedText = 1 << 12

// textReader reads a text file as UTF-8, without a byte order mark. The file may be in
// UTF-16, too, which editors on Windows and PowerShell write, with the mark or without.
func textReader(in io.Reader) io.Reader {
	r := bufio.NewReaderSize(in, sniffedText)
	head, _ := r.Peek(sniffedText) // an error comes again
	switch {
	case bytes.HasPrefix(head, []byte(byteOrderMark)):
		r.Discard(len(byteOrderMark))
		return r
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		r.Discard(2)
		return &utf16Reader{in: r, order: binary.LittleEndian}
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		r.Discard(2)
		return &utf16Reader{in: r, order: binary.BigEndian}
	}
	if order := orderOf(head); order != nil {
		return &utf16Reader{in: r, order: order}
	}
	return r
}

// orderOf is the byte order of UTF-16 without a mark, or nil for other text. The upper
// byte of ASCII's characters is 0, and no text in UTF-8 has any: a single one may be
// there by mistake.
func orderOf(head []byte) binary.ByteOrder {
	var zeros [2]int // at even and at odd places
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	few := max(zeros[0], zeros[1]) < len(head)/4
	if zeros[0] == zeros[1] || few && utf8.Valid(head) {
		return nil
	}
	if zeros[0] > zeros[1] {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// utf16Reader reads UTF-16 as UTF-8.
type utf16Reader struct {
	in    *bufio.Reader
	order binary.ByteOrder
	ahead []byte // of UTF-8, which did not fit
	err   error
}

func (u *utf16Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(u.ahead) > 0 {
			k := copy(p[n:], u.ahead)
			n, u.ahead = n+k, u.ahead[k:]
			continue
		}
		if u.err != nil {
			break
		}
		var r rune
		if r, u.err = u.next(); u.err == nil {
			u.ahead = utf8.AppendRune(u.ahead[:0], r)
		}
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, u.err
}

// next reads a character.
func (u *utf16Reader) next() (rune, error) {
	first, err := u.unit()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, err
	}
	second, err := u.unit()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
		return r, nil
	}
	return 0, errNoUTF16
}

func (u *utf16Reader) unit() (rune, error) {
	var b [2]byte
	switch _, err := io.ReadFull(u.in, b[:]); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, errHalfUnit
	case err != nil:
		return 0, err
	}
	return rune(u.order.Uint16(b[:])), nil
}
