package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/picture"
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

// hostileModel is a file whose names and metadata are hostile.
func hostileModel(t *testing.T, metadata map[string]string, name string) string {
	header, err := safetensors.Header(metadata, []safetensors.Tensor{{Name: name, DType: "F32", Shape: []int64{1}}}, []int64{4})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x\u202e.safetensors")
	require.NoError(t, os.WriteFile(path, append(header, 0, 0, 0, 0), 0o666))
	return path
}

// Nothing of a picture's or a model's text reaches a terminal or JSON as it is.
func TestHostileTextsAreShown(t *testing.T) {
	dir := t.TempDir()
	img := filepath.Join(dir, "p\u202e.png")
	var b bytes.Buffer
	require.NoError(t, picture.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), picture.Options{Parameters: hostile + "\nsecond " + hostile}))
	require.NoError(t, os.WriteFile(img, b.Bytes(), 0o666))
	model := hostileModel(t, map[string]string{hostile: hostile, "modelspec.title": hostile}, "lora_"+hostile+".lora_up.weight")
	for _, args := range [][]string{
		{"info", img}, {"info", "--json", img}, {"info", model}, {"info", "--json", "--tensors", model}, {"info", "--tensors", model},
		{"convert", "--dry-run", model}, {"convert", "--dry-run", "--json", model}, {"txt2img", "-m", model, "-p", "x"}, {"info", dir + "/" + hostile},
		{"txt2img", "-p", "x", "--sampler", hostile}, {"txt2img", "-p", "x", "--sampler", hostile, "--json"}, {hostile}, {"info", "--" + hostile},
		{"img2img", "-p", "x", "-i", hostile}, {"upscale", "-m", model, img}, {"convert", "-o", "x.gguf", "--tensor-type", hostile, model},
	} {
		got := sdgo(t, args...)
		stdout, stderr := got.out, got.errors
		require.NotEmpty(t, stdout+stderr, args)
		requireShown(t, stdout)
		requireShown(t, stderr)
	}
}

// What is shown of metadata is not a multiple of its size.
func TestInfoIsBounded(t *testing.T) {
	model := hostileModel(t, map[string]string{"a": strings.Repeat("\x01", 3<<20), "b": strings.Repeat("b", 2<<20), "c": "c", "d": strings.Repeat("d", 4<<20)}, "lora_x.lora_up.weight")
	info := sdgo(t, "info", "--json", model)
	require.Zero(t, info.code, info.errors)
	stdout := info.out
	require.Less(t, len(stdout), 16<<20)
	var out struct{ Metadata map[string]string }
	require.NoError(t, json.Unmarshal([]byte(stdout), &out))
	require.Equal(t, "c", out.Metadata["c"])
	require.True(t, strings.HasSuffix(out.Metadata["a"], "\x01… (3145728 bytes)"))
	require.Len(t, out.Metadata, 4)

	large := hostileModel(t, map[string]string{"a": strings.Repeat("a", 17<<20)}, "lora_x.lora_up.weight")
	sdgo(t, "info", large).requireError(t, ExitFailure, "metadata of 17825793 bytes; at most 16777216 are read")

	var names []safetensors.Tensor
	for i := range 3 {
		names = append(names, safetensors.Tensor{Name: strings.Repeat("\x02", 1000) + string(rune('a'+i)), DType: "F32", Shape: []int64{1}})
	}
	header, err := safetensors.Header(nil, names, []int64{4, 4, 4})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(path, binary.LittleEndian.AppendUint64(header, 0)[:len(header)+8], 0o666))
	require.Less(t, len(sdgo(t, "info", path).errors), 12_000)
	require.Less(t, len(sdgo(t, "txt2img", "-p", "x", "--sampler", strings.Repeat("s", 1<<20)).errors), 12_000)

	img := filepath.Join(t.TempDir(), "p.png")
	var b bytes.Buffer
	require.NoError(t, picture.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), picture.Options{Parameters: strings.Repeat("\n", 1<<20)}))
	require.NoError(t, os.WriteFile(img, b.Bytes(), 0o666))
	stdout = sdgo(t, "info", img).out
	require.Contains(t, stdout, "more than 10000 lines")
	require.Less(t, len(stdout), 1<<20)
}

// rude is a reader that panics.
type rude struct{}

func (rude) Read([]byte) (int, error) { panic("no") }

// A stream that panics is an error, and so is a nil context.
func TestStreamsOfOthers(t *testing.T) {
	var out, errors bytes.Buffer
	var none context.Context
	require.Equal(t, ExitFailure, Run(t.Context(), []string{"info", "-"}, rude{}, &out, &errors))
	require.Contains(t, errors.String(), "standard input panicked: no (")
	errors.Reset()
	require.Equal(t, ExitFailure, Run(none, []string{"version"}, rude{}, &out, &errors))
	require.Contains(t, errors.String(), "ctx must not be nil")
}

// A file of a megabyte does not become a million requests.
func TestPromptsAreCounted(t *testing.T) {
	for n, want := range map[int]string{maxPrompts + 1: "10001 prompts; at most 10000 are possible, and with sdgo batch 100000", maxJobs + 1: "more than 100000 prompts"} {
		path := filepath.Join(t.TempDir(), "prompts")
		require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("a\n", n)), 0o666))
		sdgo(t, "txt2img", "--prompts", path).requireError(t, ExitFailure, want)
	}
	sdgo(t, "convert", "-o", filepath.Join(t.TempDir(), "x.gguf"), "--imatrix", os.DevNull, tinyModel(t)).
		requireError(t, ExitFailure, "must be a regular file of at most 537 MB")
	jobs := strings.Repeat(`{"prompt": "`+strings.Repeat("a", 1<<19)+"\"}\n", 130)
	_, err := parseJobs("jobs", strings.NewReader(jobs))
	require.ErrorContains(t, err, "jobs:128: more than 67.1 MB of jobs")
}
