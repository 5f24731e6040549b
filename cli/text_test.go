package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/pngtext"
)

// inUTF16 is a text in UTF-16.
func inUTF16(order binary.AppendByteOrder, mark bool, text string) string {
	units := utf16.Encode([]rune(text))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	var b []byte
	for _, u := range units {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// encodings are all that a text file may be in.
func encodings(text string) map[string]string {
	return map[string]string{
		"UTF-8": text, "UTF-8 with a mark": byteOrderMark + text,
		"UTF-16LE": inUTF16(binary.LittleEndian, false, text), "UTF-16BE": inUTF16(binary.BigEndian, false, text),
		"UTF-16LE with a mark": inUTF16(binary.LittleEndian, true, text), "UTF-16BE with a mark": inUTF16(binary.BigEndian, true, text),
	}
}

func TestTextReader(t *testing.T) {
	for _, text := range []string{"", "a", "a fox\r\nein Löwe\n猫 🚀\n", "猫\n犬が好き\n", strings.Repeat("ein Löwe, 猫 🚀\n", 4000)} {
		for name, encoded := range encodings(text) {
			got, err := io.ReadAll(textReader(iotest.OneByteReader(strings.NewReader(encoded))))
			require.NoError(t, err, name)
			require.Equal(t, text, string(got), name)
		}
	}
	const zero = "a fox, a cat and a dog\x00 in snow" // a byte by mistake is no encoding
	got, err := io.ReadAll(textReader(strings.NewReader(zero)))
	require.NoError(t, err)
	require.Equal(t, zero, string(got))
	for text, want := range map[string]error{
		"\xff\xfea": errHalfUnit, "\xff\xfea\x00\x00\xd8": errNoUTF16, "\xff\xfe\x00\xd8a\x00": errNoUTF16, "\xfe\xff\xdc\x00\x00a": errNoUTF16,
	} {
		_, err := io.ReadAll(textReader(strings.NewReader(text)))
		require.ErrorIs(t, err, want, "%q", text)
	}
	_, err = io.ReadAll(textReader(iotest.ErrReader(io.ErrClosedPipe)))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

// Files of prompts and of jobs, and prompts on standard input, are in the same encodings.
func TestTextFilesInAllEncodings(t *testing.T) {
	folder := t.TempDir()
	for name, encoded := range encodings("a fox\r\n\nein Löwe, 猫\n") {
		path := filepath.Join(folder, "prompts.txt")
		require.NoError(t, os.WriteFile(path, []byte(encoded), 0o666))
		for _, from := range []string{path, "-"} {
			lines, err := readPromptFile("--prompts", from, strings.NewReader(encoded))
			require.NoError(t, err, name)
			require.Len(t, lines, 2, name)
			require.Equal(t, "a fox", *lines[0].prompt)
			require.Equal(t, "ein Löwe, 猫", *lines[1].prompt)
			require.Equal(t, 3, lines[1].number)
		}
		text, err := readText(strings.NewReader(encoded), "standard input")
		require.NoError(t, err)
		require.Equal(t, "a fox\r\n\nein Löwe, 猫\n", text)
	}
	for name, encoded := range encodings("{\"prompt\": \"ein Löwe, 猫\"}\r\n{\"seed\": 1}") {
		jobs, err := parseJobs("jobs.jsonl", strings.NewReader(encoded))
		require.NoError(t, err, name)
		require.Len(t, jobs, 2, name)
		require.Equal(t, `"ein Löwe, 猫"`, string(jobs[0].members[0].Value))
	}
	_, err := readText(strings.NewReader("ein L\xf6we"), "prompts.txt")
	require.EqualError(t, err, "prompts.txt: must be a text in UTF-8 or UTF-16")
	_, err = readText(strings.NewReader("\xff\xfea"), "prompts.txt")
	require.ErrorContains(t, err, "must be UTF-16, as which it begins")
	_, err = parseJobs("j", strings.NewReader("\xff\xfea"))
	require.ErrorContains(t, err, "j: must be UTF-16")
}

func FuzzTextReader(f *testing.F) {
	f.Add([]byte("\xff\xfea\x00\x3d\xd8\x80\xde"))
	f.Add([]byte("a fox\n"))
	f.Add([]byte("\x00a\x00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err1 := io.ReadAll(textReader(bytes.NewReader(data)))
		b, err2 := io.ReadAll(textReader(iotest.OneByteReader(bytes.NewReader(data))))
		require.Equal(t, err1, err2)
		require.Equal(t, string(a), string(b))
		if utf8.Valid(data) && !bytes.Contains(data, []byte{0}) {
			require.Equal(t, strings.TrimPrefix(string(data), byteOrderMark), string(a))
		}
	})
}

// What pictures of other programs say is shown as what it means, and is a job.
func TestInfoOfOtherPrograms(t *testing.T) {
	folder := t.TempDir()
	write := func(texts ...pngtext.Text) string {
		path := filepath.Join(folder, "x.png")
		var b bytes.Buffer
		require.NoError(t, pngtext.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 8, 8)), texts...))
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
		return path
	}
	const graph = `{"3": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 20, "cfg": 8.5, "sampler_name": "euler_ancestral", "scheduler": "karras", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0],
		"negative": ["7", 0], "latent_image": ["5", 0]}}, "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}}, "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 72}},
		"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat,\n猫"}}, "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dog"}}, "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}}}`
	for program, version := range map[string]string{"ComfyUI": "", "AUTOMATIC1111": "v1.10.1", "stable-diffusion.cpp": "stable-diffusion.cpp"} {
		var path string
		if version != "" {
			path = write(pngtext.Text{Keyword: "parameters", Value: "a cat,\n猫\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 8.5, Seed: 7, Size: 64x72, Model: m, RNG: CPU, Version: " + version})
		} else {
			path = write(pngtext.Text{Keyword: "prompt", Value: graph})
		}
		o := sdgo(t, "info", path)
		require.Equal(t, ExitOK, o.code)
		for _, line := range []string{"made by " + program, "prompt a cat, 猫", "negative prompt dog", "seed 7", "sampler euler_a karras", "steps 20", "guidance 8.5", "size 64x72", "model m"} {
			require.Contains(t, strings.Join(strings.Fields(o.out), " "), line, program)
		}
		var facts pictureFacts
		require.NoError(t, json.Unmarshal([]byte(sdgo(t, "info", "--json", path).out), &facts))
		require.Equal(t, program, facts.Program)
		require.JSONEq(t, `{"prompt": "a cat,\n猫", "negative": "dog", "width": 64, "height": 72, "steps": 20, "cfg_scale": 8.5, "sampler": "euler_a", "schedule": "karras", "seed": 7, "rng": "torch"}`, string(facts.Request), program)
	}
	path := write(pngtext.Text{Keyword: "Dream", Value: "nothing"})
	require.Contains(t, sdgo(t, "info", path).out, "not read  Dream: nothing (must be a prompt in quotes, and flags)")

	// A text with a wrong checksum is left out, and said.
	data, err := os.ReadFile(write(pngtext.Text{Keyword: "prompt", Value: graph}, pngtext.Text{Keyword: "workflow", Value: "{}"}))
	require.NoError(t, err)
	data[bytes.Index(data, []byte("workflow\x00{}"))+9] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o666))
	o := sdgo(t, "info", path)
	require.Contains(t, o.out, "unreadable  png: a tEXt chunk's checksum is ")
	require.Contains(t, strings.Join(strings.Fields(o.out), " "), "seed 7")
}
