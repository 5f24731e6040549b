package bpe

import "slices"

// printable reports whether a byte stands for itself in GPT-2's byte alphabet.
func printable(b byte) bool {
	return '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b
}

// ByteOrder returns the 256 bytes as a vocabulary lists them: the printable ones first.
func ByteOrder() []byte {
	var first, then []byte
	for b := range 256 {
		if printable(byte(b)) {
			first = append(first, byte(b))
		} else {
			then = append(then, byte(b))
		}
	}
	return slices.Concat(first, then)
}

// Letter returns the character for a byte in a table's text: printable bytes stand for themselves, the others are U+0100
// and up, in order: bytes below '!', then 0x7F to 0xA0, then 0xAD.
func Letter(b byte) rune {
	switch {
	case printable(b):
		return rune(b)
	case b < '!':
		return 0x100 + rune(b)
	case b == 0xAD:
		return 0x100 + '!' + 0xA1 - 0x7F
	default:
		return 0x100 + '!' + rune(b) - 0x7F
	}
}

// Bytes is the inverse of [Letter] for a whole text; ok is false if a character stands for no byte.
func Bytes(text string) (bytes string, ok bool) {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := byteOf(r)
		if !ok {
			return "", false
		}
		out = append(out, b)
	}
	return string(out), true
}

func byteOf(r rune) (byte, bool) {
	switch n := r - 0x100; {
	case r < 0x100 && printable(byte(r)):
		return byte(r), true
	case n < 0:
		return 0, false
	case n < '!':
		return byte(n), true
	case n < '!'+0xA1-0x7F:
		return byte(n - '!' + 0x7F), true
	case n == '!'+0xA1-0x7F:
		return 0xAD, true
	}
	return 0, false
}
