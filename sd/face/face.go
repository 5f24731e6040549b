// Package face reads the vectors by which FaceID IP-Adapters see faces: numbers that a network
// for recognizing faces makes of a picture, such as the normed_embedding of InsightFace. That
// network is none of this module's: its vectors come as files, of NumPy (np.save) or as a list in JSON.
package face

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Limits of a vector's file.
const (
	MaxNumbers = 1 << 14
	maxFile    = 1 << 20 // bytes
)

// Open reads a file.
func Open(path string) ([]float32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: must be a regular file", path)
	}
	v, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// Read reads a vector of 1 to MaxNumbers finite numbers: NumPy's format with the shape [n] or [1, n] in
// float16, float32 or float64, or a list of numbers in JSON.
func Read(r io.Reader) ([]float32, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("a face's vector must have at most %d bytes", maxFile)
	}
	var v []float32
	if rest, ok := bytes.CutPrefix(data, []byte(magic)); ok {
		v, err = numpy(rest)
	} else {
		v, err = list(data)
	}
	if err != nil {
		return nil, err
	}
	for i, x := range v {
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("a face's vector must be finite, got %g at %d", x, i)
		}
	}
	return v, nil
}

// list reads JSON, where one vector may be in a list of its own.
func list(data []byte) ([]float32, error) {
	var v []float32
	if json.Unmarshal(data, &v) == nil {
		return v, checkLength(len(v))
	}
	var rows [][]float32
	if json.Unmarshal(data, &rows) != nil {
		return nil, errors.New("a face's vector must be a file of NumPy (.npy) or a list of numbers in JSON")
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("must be one face's vector, got %d", len(rows))
	}
	return rows[0], checkLength(len(rows[0]))
}

func checkLength(n int) error {
	if n < 1 || n > MaxNumbers {
		return fmt.Errorf("a face's vector must have 1 to %d numbers, got %d", MaxNumbers, n)
	}
	return nil
}

// magic is what NumPy's files begin with (numpy.lib.format).
const magic = "\x93NUMPY"

var (
	descr   = regexp.MustCompile(`'descr':\s*'([<>=|]?)(f[248])'`)
	shape   = regexp.MustCompile(`'shape':\s*\(([0-9, ]*)\)`)
	fortran = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
)

// numpy reads a file after its magic: version, the header's length, the header, numbers.
func numpy(data []byte) ([]float32, error) {
	broken := errors.New("the header of NumPy's file is broken")
	if len(data) < 6 {
		return nil, broken
	}
	size, at := int(binary.LittleEndian.Uint16(data[2:])), 4
	if data[0] > 1 {
		size, at = int(min(binary.LittleEndian.Uint32(data[2:]), maxFile)), 6
	}
	if data[0] < 1 || data[0] > 3 || size > len(data)-at {
		return nil, broken
	}
	header, data := string(data[at:at+size]), data[at+size:]
	d, s := descr.FindStringSubmatch(header), shape.FindStringSubmatch(header)
	if s == nil || !fortran.MatchString(header) {
		return nil, broken
	}
	if d == nil {
		return nil, errors.New("a face's vector in NumPy's format must be of float16, float32 or float64")
	}
	n, err := length(s[1])
	if err != nil {
		return nil, err
	}
	width, _ := strconv.Atoi(d[2][1:])
	if len(data) != n*width {
		return nil, fmt.Errorf("%d numbers of %s must have %d bytes, got %d", n, d[2], n*width, len(data))
	}
	if d[1] == ">" {
		for i := range n {
			slices.Reverse(data[i*width : (i+1)*width])
		}
	}
	v := make([]float32, n)
	return v, dtype.Float32(types[width], v, data)
}

// types are those of numbers by their bytes.
var types = map[int]dtype.Type{2: dtype.F16, 4: dtype.F32, 8: dtype.F64}

// length is that of a vector of a shape, "512," or "1, 512".
func length(shape string) (int, error) {
	n := 0
	for _, d := range strings.Split(shape, ",") {
		d = strings.TrimSpace(d)
		size, err := strconv.Atoi(d)
		switch {
		case d == "":
		case err != nil || n > 1 || n != 0 && n != 1:
			return 0, fmt.Errorf("must be one face's vector, got the shape (%.40s)", shape)
		default:
			n = size
		}
	}
	return n, checkLength(n)
}
