package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// memory keeps values under numbers and brings them back.
func (m *machine) memory(op byte) (bool, error) {
	var key int64
	switch op {
	case opMemoize:
		key = int64(len(m.memo))
	case opBinGet, opBinPut, opLongBinGet, opLongBinPut:
		size := map[byte]uint64{opBinGet: 1, opBinPut: 1, opLongBinGet: 4, opLongBinPut: 4}[op]
		b, err := m.read(size)
		if err != nil {
			return true, err
		}
		key = int64(little(b))
	case opGet, opPut:
		s, err := m.line()
		if err != nil {
			return true, err
		}
		if key, err = strconv.ParseInt(s, 10, 64); err != nil {
			return true, fmt.Errorf("the memo's key %.20q in the pickle", s)
		}
	default:
		return false, nil
	}
	switch op {
	case opBinGet, opLongBinGet, opGet:
		v, ok := m.memo[key]
		if !ok {
			return true, fmt.Errorf("the pickle asks for memo %d, which is empty", key)
		}
		return true, m.push(v)
	}
	v, err := top[any](m)
	if err == nil {
		m.memo[key] = v
	}
	return true, err
}

// container makes tuples, lists, dictionaries and sets, and fills them.
func (m *machine) container(op byte) (bool, error) {
	switch op {
	case opEmptyTuple:
		return true, m.push(tuple{})
	case opTuple1, opTuple2, opTuple3:
		n := int(op-opTuple1) + 1
		if len(m.stack) < n {
			return true, errors.New("the pickle takes more from its stack than is there")
		}
		items := tuple(slices.Clone(m.stack[len(m.stack)-n:]))
		m.stack = m.stack[:len(m.stack)-n]
		return true, m.push(items)
	case opEmptyList, opEmptySet:
		return true, m.push(&list{})
	case opEmptyDict:
		return true, m.push(&dict{})
	case opTuple, opList, opFrozenSet, opDict:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		switch op {
		case opTuple:
			return true, m.push(tuple(items))
		case opDict:
			d := &dict{}
			return true, errors.Join(d.set(items), m.push(d))
		}
		return true, m.push(&list{items})
	case opAppend, opSetItem:
		return true, m.addOne(op)
	case opAppends, opAddItems:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		l, err := top[*list](m)
		if err == nil {
			l.items = append(l.items, items...)
		}
		return true, err
	case opSetItems:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		d, err := top[*dict](m)
		if err == nil {
			err = d.set(items)
		}
		return true, err
	}
	return false, nil
}

func (m *machine) addOne(op byte) error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	if op == opAppend {
		l, err := top[*list](m)
		if err == nil {
			l.items = append(l.items, v)
		}
		return err
	}
	k, err := m.pop()
	if err != nil {
		return err
	}
	d, err := top[*dict](m)
	if err == nil {
		err = d.set([]any{k, v})
	}
	return err
}

// set adds keys and values that follow each other.
func (d *dict) set(items []any) error {
	if len(items)%2 != 0 {
		return errors.New("the pickle has a dictionary with a key that lacks its value")
	}
	for i := 0; i < len(items); i += 2 {
		d.keys = append(d.keys, hashable(items[i]))
		d.values = append(d.values, items[i+1])
	}
	return nil
}

// hashable replaces keys that Go cannot compare; no tensor has such a key.
func hashable(key any) any {
	switch key.(type) {
	case tuple, []byte:
		return opaque("key")
	}
	return key
}
