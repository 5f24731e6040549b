package checkpoint

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// parseTar reads the format of 2016, of torch before 0.2: an archive of three
// files. "storages" has pickles of their number and, for each, of its key,
// place and type, followed by its length and elements, then a pickle of
// parts of storages; "tensors" the same with shapes and strides; "pickle" is
// the object, which names tensors by their keys.
func parseTar(data []byte) ([]Tensor, error) {
	files, err := tarFiles(data)
	if err != nil {
		return nil, err
	}
	objects := map[int64]any{}
	if err := readStorages(newMachine(files["storages"], len(data)), objects); err != nil {
		return nil, fmt.Errorf("storages: %w", err)
	}
	if err := readTensors(newMachine(files["tensors"], len(data)), objects); err != nil {
		return nil, fmt.Errorf("tensors: %w", err)
	}
	m := newMachine(files["pickle"], len(data))
	m.objects = objects
	object, err := m.run()
	if err != nil {
		return nil, err
	}
	return collect(object, len(data))
}

// tarFiles returns the bytes of the three files, which lie in the archive as
// they are.
func tarFiles(data []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	in := bytes.NewReader(data)
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged: %w", err)
		}
		switch header.Name {
		case "storages", "tensors", "pickle":
		default:
			continue
		}
		begin := int64(len(data) - in.Len())
		if header.Typeflag != tar.TypeReg || len(header.PAXRecords) > 0 || header.Size > int64(len(data))-begin {
			return nil, fmt.Errorf("entry %q of the archive is no plain file within it", header.Name)
		}
		if files[header.Name] != nil {
			return nil, fmt.Errorf("the archive has %q twice", header.Name)
		}
		files[header.Name] = data[begin : begin+header.Size : begin+header.Size]
	}
	for _, name := range []string{"storages", "tensors", "pickle"} {
		if files[name] == nil {
			return nil, fmt.Errorf("the archive has no entry %q", name)
		}
	}
	return files, nil
}

// each runs the pickle of a number and then, as often, one of a tuple of three
// and what follows that.
func each(m *machine, do func(key int64, second, third any) error) error {
	n, err := m.run()
	if err != nil {
		return err
	}
	count, ok := n.(int64)
	if !ok {
		return errors.New("the number of entries is missing")
	}
	for range count { // each takes bytes, so the file's size bounds them
		v, err := m.run()
		if err != nil {
			return err
		}
		entry, ok := v.(tuple)
		if !ok || len(entry) != 3 {
			return errors.New("an entry that is no tuple of three")
		}
		key, ok := entry[0].(int64)
		if !ok {
			return errors.New("an entry whose key is no number")
		}
		if err := do(key, entry[1], entry[2]); err != nil {
			return err
		}
	}
	return nil
}

func readStorages(m *machine, objects map[int64]any) error {
	err := each(m, func(key int64, _, third any) error {
		g, _ := third.(global)
		e, ok := storageTypes[g.name]
		if !ok {
			return fmt.Errorf("storage %d has no type that torch knows", key)
		}
		b, err := m.read(8)
		if err != nil {
			return err
		}
		count := int64(binary.LittleEndian.Uint64(b))
		if count < 0 || count > int64(len(m.data)-m.at)/e.size {
			return fmt.Errorf("storage %d has %d elements, and %d bytes are left", key, count, len(m.data)-m.at)
		}
		bytes, err := m.read(uint64(count * e.size))
		objects[key] = &storage{element: e, key: strconv.FormatInt(key, 10), count: count, data: bytes}
		return err
	})
	if err != nil {
		return err
	}
	views, err := m.run()
	if err != nil {
		return err
	}
	if l, ok := views.(*list); !ok || len(l.items) > 0 {
		return errors.New("storages that are parts of others; saving the file with a newer torch resolves that")
	}
	return nil
}

func readTensors(m *machine, objects map[int64]any) error {
	return each(m, func(key int64, second, _ any) error {
		root, _ := second.(int64)
		s, ok := objects[root].(*storage)
		if !ok {
			return fmt.Errorf("tensor %d is on a storage that is not there", key)
		}
		b, err := m.read(8) // as many dimensions as the first four bytes say
		if err != nil {
			return err
		}
		dims := binary.LittleEndian.Uint32(b)
		if dims > 16 {
			return fmt.Errorf("tensor %d has %d dimensions", key, dims)
		}
		if b, err = m.read(16*uint64(dims) + 8); err != nil {
			return err
		}
		numbers := make([]int64, 2*dims+1) // shape, strides, offset
		for i := range numbers {
			numbers[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
		}
		v, err := newView(s, s.element, numbers[2*dims], numbers[:dims], numbers[dims:2*dims])
		if err != nil {
			return err
		}
		objects[key] = v
		return nil
	})
}

// object finds what a pickle of this format names: by a number, or by that in
// decimal digits.
func (m *machine) object(id any) error {
	key, ok := id.(int64)
	if text, isText := id.(string); isText {
		n, err := strconv.ParseInt(text, 10, 64)
		key, ok = n, err == nil
	}
	v := m.objects[key]
	if !ok || v == nil {
		return fmt.Errorf("the pickle names %s, which is no tensor of the archive", brief(id))
	}
	return m.push(v)
}
