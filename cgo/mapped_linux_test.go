package cgo

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// resident is how many bytes of a map are in the process's memory, as /proc/self/smaps says.
func resident(t *testing.T, data []byte) (kilobytes int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer f.Close()
	begin := fmt.Sprintf("%08x-", uintptr(unsafe.Pointer(unsafe.SliceData(data))))
	for found, lines := false, bufio.NewScanner(f); lines.Scan(); {
		found = found || strings.HasPrefix(lines.Text(), begin)
		if _, err := fmt.Sscanf(lines.Text(), "Rss: %d kB", &kilobytes); found && err == nil {
			return kilobytes
		}
	}
	require.Fail(t, "the map is not in smaps")
	return 0
}

// Weights of a mapped file leave the process's memory when they are kept in kernels' own forms, and
// are read again after these are freed.
func TestMappedWeightsAreGivenBack(t *testing.T) {
	var allowed uint64
	c := Config{Threads: 2, Keep: func(bytes uint64) uint64 { return min(bytes, allowed) }, Mapped: func([]byte) bool { return true }}
	p := unetParams()
	p["model_channels"] = []float64{192}
	net, err := NewNet("unet", p, c)
	require.NoError(t, err)
	t.Cleanup(net.Close)
	var file []byte
	var at []int
	r := rand.New(rand.NewPCG(1, 2))
	for _, w := range net.Weights() {
		at = append(at, len(file))
		n := elements(w.Shape)
		for range n {
			if len(w.Shape) == 1 {
				file = append(file, bytesOf([]float32{float32(r.NormFloat64()) / 4})...)
			} else {
				half := uint16(r.Uint32())&0x83ff | 10<<10 // 1/32 to 1/16
				file = append(file, byte(half), byte(half>>8))
			}
		}
		for len(file)%4 != 0 {
			file = append(file, 0)
		}
	}
	path := filepath.Join(t.TempDir(), "weights")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	data, err := unix.Mmap(int(f.Fd()), 0, len(file), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(data)) })
	for i, w := range net.Weights() {
		size, typ := 2*elements(w.Shape), uint32(1)
		if len(w.Shape) == 1 {
			size, typ = 2*size, 0
		}
		require.NoError(t, net.Bind(i, typ, data[at[i]:][:size:size]))
	}
	require.NoError(t, net.Load())
	want := run(t, net, 16)
	require.Equal(t, want, run(t, net, 16), "where nothing may be kept")
	all := resident(t, data)
	require.Greater(t, 1024*all, len(file)*9/10)
	allowed = 1 << 40
	require.Equal(t, want, run(t, net, 16))
	if net.Kept() == 0 {
		t.Skip("these kernels keep nothing")
	}
	left := resident(t, data)
	require.Less(t, left, all/4, "of %d kB", all)
	require.Equal(t, want, run(t, net, 16))
	// What is not kept is read again, and the system may bring 2 MB around it.
	require.Less(t, resident(t, data), all/2, "what is kept is not read from the file")
	net.Trim()
	allowed = 0
	require.Equal(t, want, run(t, net, 16))
	require.Greater(t, resident(t, data), all*9/10)
}
