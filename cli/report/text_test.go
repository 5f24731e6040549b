package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
)

// hostile is text that a terminal takes for commands, in ASCII and in C1, and
// that is not where it seems to be.
const hostile = "a\x1b[31mb\u009b31mc\u0085\u202ed\u2066e\u2069\u200f\u200e\u061c\u007f\u2028f\U000e0041"

// requireShown checks that text holds nothing that is not to be shown.
func requireShown(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		require.True(t, r == '\n' || unicode.IsPrint(r), "%U in %.300q", r, text)
	}
}

func TestPrintableHidesNothing(t *testing.T) {
	requireShown(t, Printable(hostile))
	require.Equal(t, `a\x1b[31mb\u009b31mc\u0085\u202ed\u2066e\u2069\u200f\u200e\u061c\x7f\u2028f\U000e0041`, Printable(hostile))
	require.Equal(t, "a; b c", Printable("a\r\n\nb\tc"))
}

// JSON means the same, and shows nothing that it should not.
func TestJSONIsPrintable(t *testing.T) {
	for _, text := range []string{hostile, "a fox, 猫 🚀 é <b> &", "", "\xff", "line\nline\ttab \"quoted\" \\u0041"} {
		var b bytes.Buffer
		require.NoError(t, JSON(&b, map[string]string{text: text}, " "))
		requireShown(t, b.String())
		require.NotContains(t, b.String(), "003c", "HTML is not escaped")
		var back map[string]string
		require.NoError(t, json.Unmarshal(b.Bytes(), &back))
		want := strings.ToValidUTF8(text, "\uFFFD")
		require.Equal(t, map[string]string{want: want}, back)
	}
	require.Equal(t, `"猫🚀é<"`, string(escape([]byte(`"猫🚀é<"`))))
}

func TestErrorsAreOneSafeLine(t *testing.T) {
	require.Equal(t, `a\x1b[31m; b c é 日`, Printable("a\x1b[31m\nb\tc é 日\r\n"))
}

func TestCut(t *testing.T) {
	require.Equal(t, "abc", Cut("abc", 3))
	require.Equal(t, "ab… (3 bytes)", Cut("abc", 2))
	require.Equal(t, "a… (4 bytes)", Cut("a猫", 3), "between letters")
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 9_999: "10.0 kB", 123_456: "123 kB", 999_600: "1.00 MB", 2_132_000_000: "2.13 GB"} {
		require.Equal(t, want, Size(n))
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 1234 * time.Microsecond: "1 ms", 99 * time.Millisecond: "99 ms", 140 * time.Millisecond: "0.1 s",
		9940 * time.Millisecond: "9.9 s", 11400 * time.Millisecond: "11 s", 119 * time.Second: "119 s", 125400 * time.Millisecond: "2m5s",
	} {
		require.Equal(t, want, Short(d))
	}
	require.Equal(t, 1.235, Seconds(1234567*time.Microsecond))
}

func TestPlural(t *testing.T) {
	require.Equal(t, "1 job", Plural(1, "job"))
	require.Equal(t, "0 jobs", Plural(0, "job"))
	require.Equal(t, "2 passes", Plural(2, "pass"))
}
