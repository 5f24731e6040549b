package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Printable makes one line of text that is safe to show: names in hostile files
// may hold newlines and terminal escapes.
func Printable(s string) string {
	var b strings.Builder
	for _, line := range strings.FieldsFunc(s, func(c rune) bool { return c == '\n' || c == '\r' }) {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		for _, c := range line {
			switch {
			case unicode.IsPrint(c):
				b.WriteRune(c)
			case c == '\t':
				b.WriteByte(' ')
			default:
				quoted := strconv.QuoteRuneToASCII(c)
				b.WriteString(quoted[1 : len(quoted)-1])
			}
		}
	}
	return b.String()
}

// Cut shortens a text that is longer than so many bytes, and says how long it was.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + fmt.Sprintf("… (%d bytes)", len(text))
}

// Plural is a number of things, such as "1 job" or "3 jobs".
func Plural(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Size is a number of bytes with three digits and a decimal unit, as disks have
// them: "2.13 GB".
func Size(n uint64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1000, 0
	for v >= 999.5 && unit < len(units)-1 {
		v, unit = v/1000, unit+1
	}
	digits := 2
	if v >= 9.995 {
		digits = 1
	}
	if v >= 99.95 {
		digits = 0
	}
	return fmt.Sprintf("%.*f %cB", digits, v, units[unit])
}

// Short is a duration with about two digits.
func Short(d time.Duration) string {
	switch {
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Seconds is a duration for an event, rounded to milliseconds.
func Seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
