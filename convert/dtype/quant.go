package dtype

import (
	"encoding/binary"
	"fmt"
)

// block turns one block of a quantized type into floats. q is exactly one
// block, y exactly its elements. The layouts are those of ggml-common.h.
type block func(y []float32, q []byte)

var blocks = map[Type]block{
	Q4_0: blockQ4_0, Q4_1: blockQ4_1, Q5_0: blockQ5_0, Q5_1: blockQ5_1, Q8_0: blockQ8_0, IQ4_NL: blockIQ4_NL,
	Q2_K: blockQ2_K, Q3_K: blockQ3_K, Q4_K: blockQ4_K, Q5_K: blockQ5_K, Q6_K: blockQ6_K, IQ4_XS: blockIQ4_XS,
}

func dequantize(t Type, dst []float32, src []byte) error {
	f := blocks[t]
	if f == nil {
		return fmt.Errorf("%v does not convert to f32", t)
	}
	n, size := t.BlockSize(), t.BlockBytes()
	for len(dst) > 0 {
		f(dst[:n:n], src[:size:size])
		dst, src = dst[n:], src[size:]
	}
	return nil
}

// half reads the f16 at an offset.
func half(q []byte, at int) float32 { return fromF16(binary.LittleEndian.Uint16(q[at:])) }

func blockQ8_0(y []float32, q []byte) {
	d := half(q, 0)
	q = q[2:][:len(y)]
	for i := range y {
		y[i] = float32(int8(q[i])) * d
	}
}

// Nibbles of the 32-element types: the low ones are the first half of the
// block, the high ones the second.

func blockQ4_0(y []float32, q []byte) {
	d := half(q, 0)
	for i, b := range q[2:18] {
		y[i] = float32(int(b&15)-8) * d
		y[i+16] = float32(int(b>>4)-8) * d
	}
}

func blockQ4_1(y []float32, q []byte) {
	d, m := half(q, 0), half(q, 2)
	for i, b := range q[4:20] {
		y[i] = float32(b&15)*d + m
		y[i+16] = float32(b>>4)*d + m
	}
}

func blockQ5_0(y []float32, q []byte) {
	d, high := half(q, 0), binary.LittleEndian.Uint32(q[2:])
	for i, b := range q[6:22] {
		y[i] = float32(int(b&15)+int(high>>i&1)<<4-16) * d
		y[i+16] = float32(int(b>>4)+int(high>>(i+16)&1)<<4-16) * d
	}
}

func blockQ5_1(y []float32, q []byte) {
	d, m, high := half(q, 0), half(q, 2), binary.LittleEndian.Uint32(q[4:])
	for i, b := range q[8:24] {
		y[i] = float32(int(b&15)+int(high>>i&1)<<4)*d + m
		y[i+16] = float32(int(b>>4)+int(high>>(i+16)&1)<<4)*d + m
	}
}

// levels are the sixteen values of the non-linear 4-bit types (kvalues_iq4nl).
var levels = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

func blockIQ4_NL(y []float32, q []byte) {
	d := half(q, 0)
	for i, b := range q[2:18] {
		y[i] = d * levels[b&15]
		y[i+16] = d * levels[b>>4]
	}
}
