package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoundTrip(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	all := []Message{
		{Kind: Open, Model: &Model{Role: RoleModel, Path: "a.gguf", Name: "a"}},
		{Kind: Draw, Task: "x/0", Work: &Work{Request: []byte(`{"prompt":"a"}`), Image: &Size{2, 1}, Output: Output{Format: "jpeg"}}, Parts: [][]byte{make([]byte, 8), {}}},
		{Kind: Done, Task: "x/0", Picture: &Picture{Format: "png", Seed: 1 << 60}, Parts: [][]byte{bytes.Repeat([]byte("p"), 3<<20)}},
	}
	for _, m := range all {
		require.NoError(t, w.Write(m))
	}
	for _, m := range all {
		got, err := Read(&b)
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	_, err := Read(&b)
	require.ErrorIs(t, err, io.EOF)
}

func TestBounds(t *testing.T) {
	frame := func(size, parts uint32, lengths ...uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint32(b, parts)
		for _, n := range lengths {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return b
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"JSON too long":    {frame(MaxJSON+1, 0), "bytes of JSON"},
		"too many parts":   {frame(2, MaxParts+1), "parts"},
		"parts too long":   {frame(2, 2, 1<<30, 1), "bytes in parts"},
		"ends in the head": {frame(2, 2, 1)[:10], "unexpected EOF"},
		"ends in the JSON": {append(frame(5, 0), "{}"...), "unexpected EOF"},
		"ends in a part":   {append(frame(2, 1, 1<<30), "{}abc"...), "unexpected EOF"}, // and takes no gigabyte
		"is no JSON":       {append(frame(2, 0), "{x"...), "not JSON"},
	} {
		_, err := Read(bytes.NewReader(c.data))
		require.ErrorContains(t, err, c.want, name)
	}
	require.ErrorContains(t, NewWriter(io.Discard).Write(Message{Parts: make([][]byte, MaxParts+1)}), "at most")
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	_ = NewWriter(&b).Write(Message{Kind: Done, Task: "a/1", Picture: &Picture{Format: "png"}, Parts: [][]byte{[]byte("abc")}})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		require.NoError(t, NewWriter(&b).Write(m))
		again, err := Read(&b)
		require.NoError(t, err)
		require.Equal(t, m.Kind, again.Kind)
		require.Equal(t, len(m.Parts), len(again.Parts))
	})
}
