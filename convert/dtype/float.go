package dtype

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Float32 converts the elements in src to dst, whose length is their number. It
// fails if src does not have the size of as many.
func Float32(t Type, dst []float32, src []byte) error {
	if err := t.fits(len(dst), src); err != nil {
		return err
	}
	if t.Quantized() {
		return dequantize(t, dst, src)
	}
	le := binary.LittleEndian
	switch t {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = fromF16(le.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case F8_E4M3:
		for i := range dst {
			dst[i] = e4m3[src[i]]
		}
	case F8_E5M2: // the upper byte of an f16
		for i := range dst {
			dst[i] = fromF16(uint16(src[i]) << 8)
		}
	default:
		return integers(t, dst, src)
	}
	return nil
}

func integers(t Type, dst []float32, src []byte) error {
	le := binary.LittleEndian
	for i := range dst {
		switch t {
		case I8:
			dst[i] = float32(int8(src[i]))
		case I16:
			dst[i] = float32(int16(le.Uint16(src[2*i:])))
		case I32:
			dst[i] = float32(int32(le.Uint32(src[4*i:])))
		case I64:
			dst[i] = float32(int64(le.Uint64(src[8*i:])))
		default:
			return fmt.Errorf("%v does not convert to f32", t)
		}
	}
	return nil
}

// Encode converts src to a plain floating-point type, rounding to nearest,
// halves to even. dst must have exactly the size of the result. Values too
// large for f16 become infinite, as in ggml and torch: [Finite] finds them.
func Encode(t Type, dst []byte, src []float32) error {
	if err := t.fits(len(src), dst); err != nil {
		return err
	}
	le := binary.LittleEndian
	switch t {
	case F32:
		for i, v := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], toF16(v))
		}
	case BF16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], toBF16(v))
		}
	case F64:
		for i, v := range src {
			le.PutUint64(dst[8*i:], math.Float64bits(float64(v)))
		}
	default:
		return fmt.Errorf("elements are not converted to %v one by one", t)
	}
	return nil
}

// fromF16 widens a half: its bits moved to a float's place are the value times
// 2^-112, subnormals included.
func fromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	if h&0x7c00 == 0x7c00 {
		return math.Float32frombits(sign | 0x7f800000 | uint32(h&0x3ff)<<13)
	}
	v := math.Float32frombits(uint32(h&0x7fff)<<13) * 0x1p112
	return math.Float32frombits(math.Float32bits(v) | sign)
}

func toF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520, halfway from the largest half to the next power
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: adding 0.5 puts the subnormal's unit at the float's
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	// The exponent's bias changes from 127 to 15; 0xfff and the last kept bit round.
	return sign | uint16((b-0x38000000+0xfff+b>>13&1)>>13)
}

func toBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40 // stays a NaN, quiet
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// fits checks that data is n elements long.
func (t Type) fits(n int, data []byte) error {
	if size, ok := t.Size(int64(n), int64(n)); n > 0 && (!ok || size != int64(len(data))) {
		return fmt.Errorf("%d bytes for %d elements of %v", len(data), n, t)
	}
	return nil
}

// e4m3 are the values of the 8-bit floats of Micikevicius et al. 2022
// (arXiv:2209.05433): no infinities, NaN where all bits but the sign are set.
var e4m3 = func() (values [256]float32) {
	for i := range values {
		exponent, fraction := i>>3&15, float64(i&7)/8
		v := math.Ldexp(1+fraction, exponent-7)
		switch {
		case i&0x7f == 0x7f:
			v = math.NaN()
		case exponent == 0:
			v = math.Ldexp(fraction, -6)
		}
		if i&0x80 != 0 {
			v = -v
		}
		values[i] = float32(v)
	}
	return values
}()
