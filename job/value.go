package job

import (
	"errors"
	"fmt"
	"image"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sampler"
)

// Kind is what the values of a field are.
type Kind int

// The kinds. JSON has texts and files as strings, whole numbers and numbers as
// numbers, switches as true and false, sizes as "WxH" or [w, h] and points as "X,Y"
// or [x, y].
const (
	KindText Kind = iota
	KindFile
	KindInteger
	KindNumber
	KindSwitch
	KindSize
	KindPoint
)

// Bounds of texts, in bytes.
const (
	maxText = 1 << 20 // of a prompt
	maxName = 4096    // of a file, a network, a sampler
)

// A form is how the values of a type are written and which of them there may be. A
// value that is parsed is a valid one; errors say what it must be, and not whose
// value it is.
type form[T any] struct {
	kind   Kind
	bounds string // in words, such as "1 to 1000"; "" where the kind says all
	parse  func(text string) (T, error)
	format func(v T) string
}

// longText is any text.
func longText() form[string] {
	return form[string]{KindText, "", func(text string) (string, error) {
		if len(text) > maxText {
			return "", fmt.Errorf("must be at most %d bytes, got %d", maxText, len(text))
		}
		return text, nil
	}, asIs[string]}
}

// name is the name of something that what says; where check is not nil, one that it
// knows.
func name[T ~string](kind Kind, what string, check func(string) error) form[T] {
	return form[T]{kind, "", func(text string) (T, error) {
		switch {
		case text == "":
			return "", fmt.Errorf("must be the name of %s, got an empty one", what)
		case len(text) > maxName:
			return "", fmt.Errorf("must be the name of %s, got one of %d bytes", what, len(text))
		case strings.ContainsRune(text, 0):
			return "", fmt.Errorf("must be the name of %s, got %.40q", what, text)
		}
		if check != nil {
			if err := check(text); err != nil {
				return "", err
			}
		}
		return T(text), nil
	}, asIs[T]}
}

func asIs[T ~string](v T) string { return string(v) }

func fileName() form[string] { return name[string](KindFile, "a file", nil) }

func samplerName() form[string] {
	return name[string](KindText, "a sampler", func(text string) error {
		_, err := sampler.Lookup(text)
		return err
	})
}

func scheduleName() form[string] {
	return name[string](KindText, "a schedule", func(text string) error {
		_, err := sampler.LookupSchedule(text)
		return err
	})
}

// oneOf is one of some words.
func oneOf[T ~string](words ...T) form[T] {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	last := len(list) - 1
	all := strings.Join(list[:last], ", ") + " or " + list[last]
	return form[T]{KindText, all, func(text string) (T, error) {
		for _, w := range words {
			if text == string(w) {
				return w, nil
			}
		}
		return "", fmt.Errorf("must be %s, got %.40q", all, text)
	}, asIs[T]}
}

// whole are the whole numbers from low to high.
func whole[T int | int64](low, high T) form[T] {
	return wholeNumbers(low, high, fmt.Sprintf("%d to %d", low, high))
}

// atLeast are the whole numbers from low on, as far as 32 bits reach.
func atLeast(low int) form[int] {
	return wholeNumbers(low, 1<<31-1, fmt.Sprintf("%d or more", low))
}

func wholeNumbers[T int | int64](low, high T, bounds string) form[T] {
	return form[T]{KindInteger, bounds, func(text string) (T, error) {
		v, err := strconv.ParseInt(text, 10, 64)
		if errors.Is(err, strconv.ErrRange) { // a number all the same
			return 0, fmt.Errorf("must be %s, got %.40s", bounds, text)
		}
		if err != nil {
			return 0, fmt.Errorf("must be a whole number, got %.40q", text)
		}
		if v < int64(low) || v > int64(high) {
			return 0, fmt.Errorf("must be %s, got %d", bounds, v)
		}
		return T(v), nil
	}, func(v T) string { return strconv.FormatInt(int64(v), 10) }}
}

// decimal are the numbers from low to high.
func decimal(low, high float64) form[float64] {
	bounds := fmt.Sprintf("%g to %g", low, high)
	return form[float64]{KindNumber, bounds, func(text string) (float64, error) {
		v, err := parseNumber(text)
		if err != nil {
			return 0, err
		}
		if v < low || v > high {
			return 0, fmt.Errorf("must be %s, got %g", bounds, v)
		}
		return v, nil
	}, formatNumber}
}

// factor is how many times larger something becomes, with an x after it or not.
func factor(most float64) form[float64] {
	bounds := fmt.Sprintf("more than 0, at most %g", most)
	return form[float64]{KindNumber, bounds, func(text string) (float64, error) {
		v, err := parseNumber(strings.TrimSuffix(text, "x"))
		if err != nil {
			return 0, fmt.Errorf("must be a factor, such as 2x, got %.40q", text)
		}
		if v <= 0 || v > most {
			return 0, fmt.Errorf("must be %s, got %g", bounds, v)
		}
		return v, nil
	}, formatNumber}
}

// parseNumber reads a finite decimal number.
func parseNumber(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	other := func(r rune) bool { return !strings.ContainsRune("0123456789.+-eE", r) } // hexadecimal, "inf", "nan"
	if errors.Is(err, strconv.ErrRange) && !strings.ContainsFunc(text, other) {
		return 0, fmt.Errorf("must be a smaller number, got %.40s", text)
	}
	if err != nil || strings.ContainsFunc(text, other) {
		return 0, fmt.Errorf("must be a number, got %.40q", text)
	}
	return v + 0, nil // there is no -0
}

// formatNumber writes the fewest digits that are read as the same number.
func formatNumber(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// truth is true or false.
func truth() form[bool] {
	return form[bool]{KindSwitch, "", func(text string) (bool, error) {
		v, err := strconv.ParseBool(text)
		if err != nil {
			return false, fmt.Errorf("must be true or false, got %.40q", text)
		}
		return v, nil
	}, strconv.FormatBool}
}

// size is a width and a height of low to high pixels, not both 0, which stands for
// the default.
func size(low, high int) form[image.Point] {
	return pair(KindSize, "x", "a width and a height", "1024x768", low, high, false)
}

// corner is a pixel's place.
func corner(high int) form[image.Point] {
	return pair(KindPoint, ",", "the left and the top pixel", "0,0", 0, high, true)
}

func pair(kind Kind, separator, what, such string, low, high int, zero bool) form[image.Point] {
	bounds := fmt.Sprintf("each %d to %d", low, high)
	return form[image.Point]{kind, bounds, func(text string) (image.Point, error) {
		a, b, _ := strings.Cut(text, separator)
		x, err := strconv.ParseUint(a, 10, 31)
		y, err2 := strconv.ParseUint(b, 10, 31)
		p := image.Pt(int(x), int(y))
		switch {
		case err != nil || err2 != nil:
			return p, fmt.Errorf("must be %s, as in %s, got %.40q", what, such, text)
		case p.X < low || p.X > high || p.Y < low || p.Y > high || !zero && p == image.Point{}:
			return p, fmt.Errorf("must be %s, %s pixels, got %d%s%d", what, bounds, p.X, separator, p.Y)
		}
		return p, nil
	}, func(p image.Point) string { return strconv.Itoa(p.X) + separator + strconv.Itoa(p.Y) }}
}
