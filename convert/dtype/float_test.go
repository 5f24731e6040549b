package dtype

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/x448/float16"
)

// Every half, to float and back.
func TestF16(t *testing.T) {
	src, floats, back := make([]byte, 1<<17), make([]float32, 1<<16), make([]byte, 1<<17)
	for i := range floats {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	require.NoError(t, Float32(F16, floats, src))
	for i, v := range floats {
		require.Equal(t, math.Float32bits(float16.Frombits(uint16(i)).Float32())&^(1<<22), math.Float32bits(v)&^(1<<22), "%#04x", i)
	}
	require.NoError(t, Encode(F16, back, floats))
	for i, v := range floats {
		if v == v {
			require.Equal(t, uint16(i), binary.LittleEndian.Uint16(back[2*i:]))
		} else {
			require.Equal(t, 0x7e00, int(binary.LittleEndian.Uint16(back[2*i:]))&0x7e00, "%#04x", i)
		}
	}
}

// Rounding, against an independent implementation: random floats around
// halves' range, halfway cases and the borders.
func TestF16Rounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []float32{0, 65504, 65519.996, 65520, 65536, 1e30, 0x1p-14, 0x1p-24, 0x1p-25, 0x1.8p-25, 0x1p-26, 0x1.ffcp-15, 0x1.ffep-15,
		float32(math.Inf(1)), 1 + 0x1p-11, 1 + 0x3p-11, 1 + 0x1.004p-11}
	for range 200_000 {
		values = append(values, math.Float32frombits(rng.Uint32()%(0x48000000-0x32000000)+0x32000000))
	}
	out := make([]byte, 2*len(values))
	for _, sign := range []float32{1, -1} {
		for i := range values {
			values[i] = float32(math.Copysign(float64(values[i]), float64(sign)))
		}
		require.NoError(t, Encode(F16, out, values))
		for i, v := range values {
			if want, got := float16.Fromfloat32(v).Bits(), binary.LittleEndian.Uint16(out[2*i:]); want != got {
				t.Fatalf("%x: %#04x, want %#04x", v, got, want)
			}
		}
	}
}

func TestBF16(t *testing.T) {
	for _, c := range []struct {
		in   uint32
		want uint16
	}{
		{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0x7f7fffff, 0x7f80},
		{0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0x00000001, 0}, {0x80018000, 0x8002},
	} {
		var out [2]byte
		require.NoError(t, Encode(BF16, out[:], []float32{math.Float32frombits(c.in)}))
		require.Equal(t, c.want, binary.LittleEndian.Uint16(out[:]), "%#08x", c.in)
	}
	one := make([]float32, 1)
	require.NoError(t, Float32(BF16, one, []byte{0xc0, 0xbf}))
	require.Equal(t, []float32{-1.5}, one)
}

func TestIntegersAndDoubles(t *testing.T) {
	one := make([]float32, 1)
	for _, c := range []struct {
		t    Type
		src  []byte
		want float32
	}{
		{I8, []byte{0xfe}, -2}, {I16, []byte{0xfe, 0xff}, -2}, {I32, []byte{0, 0, 1, 0}, 65536},
		{I64, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, -1},
		{F64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), 0.1},
		{F32, binary.LittleEndian.AppendUint32(nil, math.Float32bits(-3.25)), -3.25},
	} {
		require.NoError(t, Float32(c.t, one, c.src))
		require.Equal(t, c.want, one[0], c.t)
	}
}

// The values of torch's float8 types at the edges of their ranges, as
// torch.finfo and the paper have them, and all the bytes between.
func TestF8(t *testing.T) {
	for _, c := range []struct {
		t    Type
		b    byte
		want float64
	}{
		{F8_E4M3, 0x00, 0}, {F8_E4M3, 0x01, 0x1p-9}, {F8_E4M3, 0x07, 0x1.cp-7}, {F8_E4M3, 0x08, 0x1p-6}, {F8_E4M3, 0x38, 1},
		{F8_E4M3, 0x7e, 448}, {F8_E4M3, 0xfe, -448}, {F8_E4M3, 0x7f, math.NaN()}, {F8_E4M3, 0xff, math.NaN()},
		{F8_E5M2, 0x01, 0x1p-16}, {F8_E5M2, 0x04, 0x1p-14}, {F8_E5M2, 0x3c, 1}, {F8_E5M2, 0x7b, 57344}, {F8_E5M2, 0x7c, math.Inf(1)},
		{F8_E5M2, 0xfd, math.NaN()},
	} {
		one := make([]float32, 1)
		require.NoError(t, Float32(c.t, one, []byte{c.b}))
		finite := !math.IsNaN(c.want) && !math.IsInf(c.want, 0)
		if math.IsNaN(c.want) {
			require.True(t, one[0] != one[0], "%v %#02x", c.t, c.b)
		} else {
			require.Equal(t, float32(c.want), one[0], "%v %#02x", c.t, c.b)
		}
		require.Equal(t, finite, Finite(c.t, []byte{c.b}))
	}
	for _, typ := range []Type{F8_E4M3, F8_E5M2} {
		last := float32(-1)
		for b := range 0x7c {
			one := make([]float32, 1)
			require.NoError(t, Float32(typ, one, []byte{byte(b)}))
			require.Greater(t, one[0], last)
			last = one[0]
		}
		_, err := Parse(typ.String())
		require.Error(t, err)
	}
}

// testdata/convert/quants.py made the numbers with the gguf package's
// dequantizers, which compute in float32 as ggml does.
func TestDequantize(t *testing.T) {
	text, err := os.ReadFile("../../testdata/convert/quants.json")
	require.NoError(t, err)
	var cases []struct{ Type, Blocks, Floats string }
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, len(blocks))
	for _, c := range cases {
		t.Run(c.Type, func(t *testing.T) {
			typ, err := Parse(c.Type)
			require.NoError(t, err)
			src, err := hex.DecodeString(c.Blocks)
			require.NoError(t, err)
			raw, err := hex.DecodeString(c.Floats)
			require.NoError(t, err)
			want, got := make([]float32, len(raw)/4), make([]float32, len(raw)/4)
			require.NoError(t, Float32(F32, want, raw))
			require.NoError(t, Float32(typ, got, src))
			for i := range want {
				// Products and sums may be fused or not.
				if err := math.Abs(float64(got[i] - want[i])); !(err <= 1e-6*(1+math.Abs(float64(want[i])))) {
					t.Fatalf("element %d: %g, want %g", i, got[i], want[i])
				}
			}
			require.True(t, Finite(typ, src))
			for _, at := range scales[typ] {
				bad := append([]byte(nil), src...)
				bad[len(src)/2+at+1] = 0x7c
				require.False(t, Finite(typ, bad), "scale at %d", at)
			}
		})
	}
}

func TestFinite(t *testing.T) {
	for _, typ := range []Type{F32, F16, BF16, F64} {
		for _, n := range []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65} {
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(65000 * (1 - 2*(i&1)))
			}
			size := n * int(typ.BlockBytes())
			data := make([]byte, size)
			require.NoError(t, Encode(typ, data, values))
			require.True(t, Finite(typ, data), "%v %d", typ, n)
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				for i := range values {
					keep := values[i]
					values[i] = float32(bad)
					require.NoError(t, Encode(typ, data, values))
					require.False(t, Finite(typ, data), "%v %d of %d", typ, i, n)
					values[i] = keep
				}
			}
		}
	}
	require.True(t, Finite(I32, []byte{0xff, 0xff, 0xff, 0x7f}))
	require.True(t, Finite(F16, nil))
}

func TestWrongSizes(t *testing.T) {
	require.Error(t, Float32(F16, make([]float32, 3), make([]byte, 5)))
	require.Error(t, Float32(Q8_0, make([]float32, 31), make([]byte, 34)))
	require.Error(t, Float32(Type(99), make([]float32, 1), make([]byte, 4)))
	require.Error(t, Encode(F16, make([]byte, 3), make([]float32, 1)))
	require.Error(t, Encode(Q8_0, make([]byte, 34), make([]float32, 32)))
	require.NoError(t, Float32(F16, nil, nil))
}

func BenchmarkFinite(b *testing.B) {
	for _, typ := range []Type{F32, F16, Q8_0} {
		data := make([]byte, 34<<20)
		b.Run(typ.String(), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				Finite(typ, data)
			}
		})
	}
}

func BenchmarkFloat32(b *testing.B) {
	for _, typ := range []Type{F32, F16, BF16, Q8_0, Q4_K} {
		dst := make([]float32, 1<<20)
		src := make([]byte, len(dst)/int(typ.BlockSize())*int(typ.BlockBytes()))
		b.Run(typ.String(), func(b *testing.B) {
			b.SetBytes(4 << 20)
			for b.Loop() {
				_ = Float32(typ, dst, src)
			}
		})
	}
}
