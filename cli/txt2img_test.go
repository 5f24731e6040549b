package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd/picture"
)

// quick are flags that keep runs short; -W and -H are multiples of 8.
var quick = []string{"-W", "64", "-H", "32", "--steps", "2", "-s", "42"}

func with(command string, args ...string) []string {
	return append(append([]string{command}, args...), quick...)
}

func TestPictureAndItsParameters(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.png")
	o := sdgo(t, with("txt2img", "-m", tinyModel(t), "-p", "a (red:1.2) fox", "-n", "blurry, ünscharf", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, out+"\n", o.out)
	require.Contains(t, o.errors, "step 2 of 2")
	require.Contains(t, o.errors, "seed 42")
	requireFiles(t, filepath.Dir(out), "out.png")

	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	require.Equal(t, "(0,0)-(64,32)", img.Bounds().String())

	o = sdgo(t, "info", out)
	require.Equal(t, ExitOK, o.code, o.errors)
	for _, s := range []string{"PNG, 64x32", "a (red:1.2) fox", "Negative prompt: blurry, ünscharf", "Steps: 2", "Sampler: Euler a",
		"CFG scale: 7", "Seed: 42", "Size: 64x32", "Model: tiny", "RNG: CPU"} {
		require.Contains(t, o.out, s)
	}
	var piped, stderr bytes.Buffer
	file, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, ExitOK, Run(context.Background(), []string{"info", "-"}, bytes.NewReader(file), &piped, &stderr), stderr.String())
	require.Equal(t, strings.Split(o.out, "\n")[1:], strings.Split(piped.String(), "\n")[1:])
	sdgo(t, "info", "-").requireError(t, ExitFailure, "not a PNG")

	o = sdgo(t, "info", out, "--json")
	var p pictureFacts
	require.NoError(t, json.Unmarshal([]byte(o.out), &p))
	require.Equal(t, 64, p.Width)
	require.Contains(t, p.Texts[picture.Keyword], "Seed: 42")
}

// The same seed gives the same file, whatever the number of threads, whether
// alone or as one of several, to a file or to standard output.
func TestSeedDecidesThePicture(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	draw := func(args ...string) string {
		o := sdgo(t, with("txt2img", append([]string{"-q", "-m", model, "-p", "a fox"}, args...)...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		require.Empty(t, o.errors)
		return o.out
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		return string(b)
	}
	draw("-t", "1", "-o", filepath.Join(folder, "one.png"))
	draw("-t", "2", "-o", filepath.Join(folder, "two.png"))
	require.Equal(t, read("one.png"), read("two.png"))
	require.Equal(t, read("one.png"), draw("-o", "-"))

	draw("-b", "2", "-o", filepath.Join(folder, "many.png"))
	require.Equal(t, read("one.png"), read("many-1.png"))
	require.NotEqual(t, read("many-1.png"), read("many-2.png"))
	draw("-b", "2", "-o", filepath.Join(folder, "n%03d.png"))
	require.Equal(t, read("many-2.png"), read("n002.png"))

	// In a folder the seed is the name, and nothing is overwritten.
	seeds := filepath.Join(folder, "seeds")
	require.NoError(t, os.Mkdir(seeds, 0o777))
	draw("-b", "2", "-o", seeds)
	draw("-o", seeds+string(filepath.Separator))
	requireFiles(t, seeds, "42.png", "43.png", "42-2.png")
}

func TestPromptFromStandardInput(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.png")
	o := sdgo(t, with("txt2img", "-p", "-", "-m", tinyModel(t), "-o="+out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, sdgo(t, "info", out).out, "a prompt from a pipe\n")
}

func TestRandomSeedIsReported(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.png")
	o := sdgo(t, "txt2img", "-m", tinyModel(t), "-p", "", "-W", "16", "-H", "16", "--steps", "1", "--json", "-o", out)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.NotContains(t, o.out, `"seed":-1`)
}

func TestEvents(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.png")
	o := sdgo(t, with("txt2img", "-m", tinyModel(t), "-p", "a fox", "-b", "2", "--json", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Empty(t, o.errors)
	var names []string
	for line := range strings.Lines(o.out) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		names = append(names, e["event"].(string))
		switch e["event"] {
		case "step":
			require.Equal(t, 2.0, e["of"])
			require.Contains(t, e, "seconds")
		case "image":
			n := int(e["picture"].(float64))
			require.Equal(t, strings.TrimSuffix(out, ".png")+"-"+strconv.Itoa(n)+".png", e["path"])
			require.Equal(t, float64(41+n), e["seed"])
			params := e["params"].(map[string]any)
			require.Equal(t, "a fox", params["prompt"])
			require.Equal(t, 7.0, params["cfg_scale"])
			require.Equal(t, "discrete", params["schedule"])
		case "done":
			require.Equal(t, 2.0, e["images"])
			require.Greater(t, e["timings"].(map[string]any)["total"], 0.0)
		}
	}
	require.Equal(t, []string{"load", "text", "step", "step", "decode", "image", "step", "step", "decode", "image", "done"}, names)

	o = sdgo(t, with("txt2img", "-m", filepath.Join(t.TempDir(), "none"), "-p", "a fox", "--json", "-o", out)...)
	require.Equal(t, ExitFailure, o.code)
	var e report.Failure
	requireEvent(t, o.out, "error", &e)
	require.Equal(t, ExitFailure, e.ExitCode)
	require.Equal(t, "sdgo: "+e.Message+"\n", o.errors)

	o = sdgo(t, "txt2img", "-m", "x", "-p", "a fox", "--json", "-W", "0")
	require.NoError(t, json.Unmarshal([]byte(o.out), &e))
	require.Equal(t, "-W", e.Problems[0].Flag)
}

// cancelAfter is a standard output that presses Ctrl-C when it sees a text.
type cancelAfter struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (c *cancelAfter) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(c.text)) {
		c.cancel()
	}
	return c.Buffer.Write(b)
}

// Ctrl-C keeps the pictures that were finished, and nothing else.
func TestInterrupt(t *testing.T) {
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stdout := &cancelAfter{text: `"step","picture":3`, cancel: cancel}
	var stderr bytes.Buffer
	args := with("txt2img", "-m", tinyModel(t), "-p", "a fox", "-b", "5", "--json", "-o", filepath.Join(folder, "out.png"))
	code := Run(ctx, args, nil, stdout, &stderr)
	require.Equal(t, ExitInterrupted, code, stderr.String())
	require.Equal(t, "sdgo: interrupted; 2 of 5 pictures finished\n", stderr.String())
	require.Contains(t, stdout.String(), `"exit_code":130`)
	requireFiles(t, folder, "out-1.png", "out-2.png")
}

func TestInterruptBeforeTheStart(t *testing.T) {
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := sdgoContext(t, ctx, with("txt2img", "-m", tinyModel(t), "-p", "a fox", "-o", filepath.Join(folder, "out.png"))...)
	o.requireError(t, ExitInterrupted, "interrupted")
	requireFiles(t, folder)
}

// Seeds of 64 bits, as ComfyUI has them, are whole numbers everywhere: in events, the
// names of files, and the parameters in the picture.
func TestSeedsOf64Bits(t *testing.T) {
	const seed = "18446744073709551615"
	folder := t.TempDir()
	o := sdgo(t, "txt2img", "-m", tinyModel(t), "-p", "a fox", "-s", seed, "-W", "16", "-H", "16", "--steps", "1", "--json", "-o", folder)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, `"seed":`+seed+`,"params"`)
	require.Equal(t, 2, strings.Count(o.out, `"seed":`+seed+","), o.out)
	out := filepath.Join(folder, seed+".png")
	require.Contains(t, sdgo(t, "info", out).out, "Seed: "+seed)

	jobs, same := filepath.Join(folder, "jobs.jsonl"), filepath.Join(folder, "same.png")
	require.NoError(t, os.WriteFile(jobs, fmt.Appendf(nil, `{"prompt":"a fox","seed":%s,"width":16,"height":16,"steps":1,"output":%q}`, seed, same), 0o666))
	o = sdgo(t, "batch", "-m", tinyModel(t), jobs)
	require.Equal(t, ExitOK, o.code, o.errors)
	want, err := picture.Open(out)
	require.NoError(t, err)
	got, err := picture.Open(same)
	require.NoError(t, err)
	require.Equal(t, want, got)
}
