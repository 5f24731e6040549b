package dtype

// The 256-element types ("k-quants"): groups of 16 or 32 elements have their
// own scale, and some a minimum, which are quantized themselves.

// blockQ2_K: 16 bytes of scales (low nibble) and minimums (high nibble), 64
// bytes of 2-bit values, d, dmin. A run of 128 elements lies in 32 bytes, its
// four quarters in successive bit pairs.
func blockQ2_K(y []float32, q []byte) {
	d, dmin := half(q, 80), half(q, 82)
	for i := range y {
		run, quarter, at := i/128, i%128/32, i%32
		scale := q[i/16]
		v := q[16+32*run+at] >> (2 * quarter) & 3
		y[i] = d*float32(scale&15)*float32(v) - dmin*float32(scale>>4)
	}
}

// blockQ3_K: 32 bytes of high bits, 64 bytes of low bit pairs laid out as in
// q2_K, 12 bytes of 6-bit scales, d. A clear high bit subtracts 4.
func blockQ3_K(y []float32, q []byte) {
	d := half(q, 108)
	var scales [16]float32
	for i := range scales {
		low := q[96+i%8] >> (4 * (i / 8)) & 15
		high := q[104+i%4] >> (2 * (i / 4)) & 3
		scales[i] = d * float32(int(low|high<<4)-32)
	}
	for i := range y {
		run, quarter, at := i/128, i%128/32, i%32
		v := int(q[32+32*run+at] >> (2 * quarter) & 3)
		if q[at]>>(4*run+quarter)&1 == 0 {
			v -= 4
		}
		y[i] = scales[i/16] * float32(v)
	}
}

// scaleMin unpacks the 6-bit scale and minimum of group i (of 8) from the 12
// bytes of q4_K and q5_K: the first four groups have bytes of their own, whose
// upper bit pairs hold the upper bits of the last four.
func scaleMin(q []byte, i int) (scale, minimum float32) {
	if i < 4 {
		return float32(q[i] & 63), float32(q[i+4] & 63)
	}
	return float32(q[i+4]&15 | q[i-4]>>6<<4), float32(q[i+4]>>4 | q[i]>>6<<4)
}

// blockQ4_K: d, dmin, 12 bytes of scales, 128 bytes of nibbles: 64 elements in
// 32 bytes, the low nibbles first.
func blockQ4_K(y []float32, q []byte) {
	d, dmin := half(q, 0), half(q, 2)
	for group := range 8 {
		scale, minimum := scaleMin(q[4:16], group)
		scale, minimum = d*scale, dmin*minimum
		values := q[16+group/2*32:][:32]
		out := y[32*group:][:32]
		for i, b := range values {
			out[i] = scale*float32(b>>(4*(group&1))&15) - minimum
		}
	}
}

// blockQ5_K: as q4_K, with 32 bytes of fifth bits before the nibbles, bit k
// for group k.
func blockQ5_K(y []float32, q []byte) {
	d, dmin := half(q, 0), half(q, 2)
	for group := range 8 {
		scale, minimum := scaleMin(q[4:16], group)
		scale, minimum = d*scale, dmin*minimum
		high, values := q[16:48], q[48+group/2*32:][:32]
		out := y[32*group:][:32]
		for i, b := range values {
			out[i] = scale*float32(b>>(4*(group&1))&15|high[i]>>group&1<<4) - minimum
		}
	}
}

// blockQ6_K: 128 bytes of nibbles, 64 bytes of upper bit pairs, 16 signed
// scales, d. A run of 128 elements has 64 and 32 bytes of them.
func blockQ6_K(y []float32, q []byte) {
	d := half(q, 208)
	for i := range y {
		run, quarter, at := i/128, i%128/32, i%32
		low := q[64*run+32*(quarter&1)+at] >> (4 * (quarter / 2)) & 15
		high := q[128+32*run+at] >> (2 * quarter) & 3
		scale := float32(int8(q[192+i/16]))
		y[i] = d * scale * float32(int(low|high<<4)-32)
	}
}

// blockIQ4_XS: d, the upper bit pairs of the eight 6-bit scales, their lower
// nibbles, 128 bytes of nibbles: 32 elements in 16 bytes.
func blockIQ4_XS(y []float32, q []byte) {
	d, high := half(q, 0), int(q[2])|int(q[3])<<8
	for group := range 8 {
		low := int(q[4+group/2] >> (4 * (group & 1)) & 15)
		scale := d * float32(low|high>>(2*group)&3<<4-32)
		out := y[32*group:][:32]
		for i, b := range q[8+16*group:][:16] {
			out[i] = scale * levels[b&15]
			out[i+16] = scale * levels[b>>4]
		}
	}
}
