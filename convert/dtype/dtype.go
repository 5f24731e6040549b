// Package dtype names the element types of tensors in weight files, by ggml's
// numbers.
package dtype

import (
	"fmt"
	"math/bits"
	"sort"
	"strings"
)

// Type is an element type. Its values are those of ggml's ggml_type and of
// GGUF files.
type Type uint32

// The types that files of diffusion models use.
const (
	F32     Type = 0
	F16     Type = 1
	Q4_0    Type = 2
	Q4_1    Type = 3
	Q5_0    Type = 6
	Q5_1    Type = 7
	Q8_0    Type = 8
	Q2_K    Type = 10
	Q3_K    Type = 11
	Q4_K    Type = 12
	Q5_K    Type = 13
	Q6_K    Type = 14
	IQ2_XXS Type = 16
	IQ2_XS  Type = 17
	IQ3_XXS Type = 18
	IQ1_S   Type = 19
	IQ4_NL  Type = 20
	IQ3_S   Type = 21
	IQ2_S   Type = 22
	IQ4_XS  Type = 23
	I8      Type = 24
	I16     Type = 25
	I32     Type = 26
	I64     Type = 27
	F64     Type = 28
	IQ1_M   Type = 29
	BF16    Type = 30
	TQ1_0   Type = 34
	TQ2_0   Type = 35
	MXFP4   Type = 39
)

// Types that ggml lacks. Files of other formats have them.
const (
	F8_E4M3 Type = 1000 + iota // no infinities: torch's float8_e4m3fn
	F8_E5M2
)

type layout struct {
	name         string
	block, bytes int64
}

// Blocks and their bytes, as in ggml's type_traits table.
var layouts = map[Type]layout{
	F32: {"f32", 1, 4}, F16: {"f16", 1, 2}, BF16: {"bf16", 1, 2}, F64: {"f64", 1, 8},
	I8: {"i8", 1, 1}, I16: {"i16", 1, 2}, I32: {"i32", 1, 4}, I64: {"i64", 1, 8},
	Q4_0: {"q4_0", 32, 18}, Q4_1: {"q4_1", 32, 20}, Q5_0: {"q5_0", 32, 22}, Q5_1: {"q5_1", 32, 24}, Q8_0: {"q8_0", 32, 34},
	Q2_K: {"q2_K", 256, 84}, Q3_K: {"q3_K", 256, 110}, Q4_K: {"q4_K", 256, 144}, Q5_K: {"q5_K", 256, 176}, Q6_K: {"q6_K", 256, 210},
	IQ2_XXS: {"iq2_xxs", 256, 66}, IQ2_XS: {"iq2_xs", 256, 74}, IQ3_XXS: {"iq3_xxs", 256, 98}, IQ1_S: {"iq1_s", 256, 50},
	IQ4_NL: {"iq4_nl", 32, 18}, IQ3_S: {"iq3_s", 256, 110}, IQ2_S: {"iq2_s", 256, 82}, IQ4_XS: {"iq4_xs", 256, 136},
	F8_E4M3: {"f8_e4m3", 1, 1}, F8_E5M2: {"f8_e5m2", 1, 1},
	IQ1_M: {"iq1_m", 256, 56}, TQ1_0: {"tq1_0", 256, 54}, TQ2_0: {"tq2_0", 256, 66}, MXFP4: {"mxfp4", 32, 17},
}

// Valid reports whether t is a type that this package knows.
func (t Type) Valid() bool { _, ok := layouts[t]; return ok }

// String is ggml's name of the type, such as "f16" or "q8_0".
func (t Type) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// BlockSize is the number of elements that are stored together: 1 for plain
// types. It is 0 for an unknown type.
func (t Type) BlockSize() int64 { return layouts[t].block }

// BlockBytes is the number of bytes of a block.
func (t Type) BlockBytes() int64 { return layouts[t].bytes }

// Quantized reports whether elements of t are stored in blocks.
func (t Type) Quantized() bool { return t.BlockSize() > 1 }

// InGGML reports whether ggml has this type, and so GGUF files.
func (t Type) InGGML() bool { return t < 1000 && t.Valid() }

// Native is the type that networks compute with in place of t: f32 for f64, f16
// for 8-bit floats, t itself otherwise.
func (t Type) Native() Type {
	switch t {
	case F64:
		return F32
	case F8_E4M3, F8_E5M2:
		return F16
	}
	return t
}

// Float reports whether weights can have this type: a floating-point or
// quantized one.
func (t Type) Float() bool {
	switch t {
	case I8, I16, I32, I64:
		return false
	}
	return t.Valid()
}

// Size is the number of bytes of `elements` elements in rows of `row`. It is
// false where a row does not divide into blocks, the elements not into rows,
// or the result does not fit.
func (t Type) Size(elements, row int64) (int64, bool) {
	l, ok := layouts[t]
	if !ok || elements < 0 || row < 1 || elements%row != 0 || row%l.block != 0 {
		return 0, false
	}
	high, low := bits.Mul64(uint64(elements/l.block), uint64(l.bytes))
	if high != 0 || low > 1<<62 {
		return 0, false
	}
	return int64(low), true
}

// writable reports whether weights are converted to t: floats that networks
// compute with, and quantized types that this package reads back.
func (t Type) writable() bool {
	return t == F32 || t == F16 || t == BF16 || blocks[t] != nil
}

// Parse finds a type that weights are converted to by its name, in either case.
func Parse(name string) (Type, error) {
	for t, l := range layouts {
		if strings.EqualFold(name, l.name) && t.writable() {
			return t, nil
		}
	}
	return 0, fmt.Errorf("type %q is unknown; known are %s", name, strings.Join(Names(), ", "))
}

// Names lists the types that weights are converted to.
func Names() []string {
	var names []string
	for t, l := range layouts {
		if t.writable() {
			names = append(names, l.name)
		}
	}
	sort.Strings(names)
	return names
}
