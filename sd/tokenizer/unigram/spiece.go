package unigram

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// MaxFile bounds a vocabulary's file, in bytes.
const MaxFile = 64 << 20

// extraIDs are the tokens <extra_id_0> to <extra_id_99>, which T5 has after its vocabulary, in descending order.
const extraIDs = 100

// FromSentencePiece reads a file spiece.model, as T5 and umT5 have it, and adds T5's extra ids.
func FromSentencePiece(data []byte) (*Tokenizer, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("tokenizer: a SentencePiece model must have at most %d MB", MaxFile>>20)
	}
	tables := Tables{Unknown: -1, Special: map[string]int32{}}
	kind := uint64(typeUnigram)
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			return tables.addPiece(f.bytes)
		case 2:
			return fields(f.bytes, func(f field) error {
				if f.number == 3 {
					kind = f.value
				}
				return nil
			})
		case 3:
			return fields(f.bytes, func(f field) error {
				if f.number == 2 {
					tables.CharsMap = f.bytes
				}
				return nil
			})
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case kind != typeUnigram:
		return nil, fmt.Errorf("tokenizer: the SentencePiece model must be of the type unigram (1), got %d", kind)
	case tables.Unknown < 0:
		return nil, errors.New("tokenizer: the SentencePiece model has no unknown piece")
	}
	for i := extraIDs - 1; i >= 0; i-- {
		text := fmt.Sprintf("<extra_id_%d>", i)
		tables.Special[text] = int32(len(tables.Pieces))
		tables.Pieces = append(tables.Pieces, Piece{Text: text})
	}
	return New(tables)
}

// typeUnigram is SentencePiece's number for this kind of model.
const typeUnigram = 1

// Kinds of pieces.
const (
	pieceUnknown = 2
	pieceControl = 3
	pieceByte    = 6
)

func (t *Tables) addPiece(data []byte) error {
	var p Piece
	var kind uint64
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			p.Text = string(f.bytes)
		case 2:
			p.Score = float64(math.Float32frombits(uint32(f.value)))
		case 3:
			kind = f.value
		}
		return nil
	})
	if err != nil {
		return err
	}
	id := int32(len(t.Pieces))
	switch kind {
	case pieceUnknown:
		t.Unknown = id
		t.Special[p.Text] = id
	case pieceControl:
		t.Special[p.Text] = id
	case pieceByte:
		return fmt.Errorf("tokenizer: piece %.40q stands for a byte: SentencePiece models with byte fallback are no T5's", p.Text)
	}
	if len(t.Pieces) >= maxPieces {
		return fmt.Errorf("tokenizer: must have at most %d pieces", maxPieces)
	}
	t.Pieces = append(t.Pieces, p)
	return nil
}

// field is one of a message of Protocol Buffers: bytes, or a number.
type field struct {
	number uint64
	value  uint64
	bytes  []byte
}

// fields visits those of a message, in the order of the file.
func fields(data []byte, visit func(field) error) error {
	cutOff := errors.New("tokenizer: the SentencePiece model is cut off, or is none")
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		if n <= 0 {
			return cutOff
		}
		data = data[n:]
		f := field{number: key >> 3}
		switch key & 7 {
		case 0:
			if f.value, n = binary.Uvarint(data); n <= 0 {
				return cutOff
			}
		case 1:
			if n = 8; len(data) < n {
				return cutOff
			}
			f.value = binary.LittleEndian.Uint64(data)
		case 2:
			length, m := binary.Uvarint(data)
			if m <= 0 || length > uint64(len(data)-m) {
				return cutOff
			}
			f.bytes, n = data[m:][:length], m+int(length)
		case 5:
			if n = 4; len(data) < n {
				return cutOff
			}
			f.value = uint64(binary.LittleEndian.Uint32(data))
		default:
			return cutOff
		}
		data = data[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}
