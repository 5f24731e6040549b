package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// jobsFile writes lines to jobs.jsonl in a new folder, which becomes the
// working directory.
func jobsFile(t *testing.T, lines ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	writeJobs(t, lines...)
}

func writeJobs(t *testing.T, lines ...string) {
	t.Helper()
	require.NoError(t, os.WriteFile("jobs.jsonl", []byte(strings.Join(lines, "\n")), 0o666))
}

// drawBatch runs the jobs with the tiny model's small requests.
func drawBatch(t *testing.T, model string, args ...string) outcome {
	t.Helper()
	return sdgo(t, append([]string{"batch", "-m", model, "jobs.jsonl", "-W", "64", "-H", "32", "--steps", "2", "--sampler", "euler"}, args...)...)
}

// The folder may be gone when the first picture is done: another process made it, failed,
// and removed it as it was empty.
func TestBatchFolderRemovedMeanwhile(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "out")
	target := func() *output.Target {
		require.NoError(t, os.Mkdir(folder, 0o777))
		to, err := output.New(filepath.Join(folder, "a.png"), 1, nil)
		require.NoError(t, err)
		require.NoError(t, os.Remove(folder))
		return to
	}
	b := &batch{jobs: jobMaker{folder: folder}}
	img, _ := start(8, 8)
	path, err := b.put(&job{to: target()}, output.Picture{Image: img, Number: 1})
	require.NoError(t, err)
	require.FileExists(t, path)
}

// Jobs of all kinds give the pictures that the commands give one by one, and
// are skipped the next time, unless they were changed.
func TestBatch(t *testing.T) {
	model := tinyModel(t)
	jobsFile(t,
		`{"prompt": "a fox", "seed": 42}`, "",
		`{"prompt": "a fox", "seed": 42, "count": 2, "output": "fox-%02d.webp", "negative": "blurry"}`,
		`{"prompt": "a fox", "seed": 42, "input": "in.png", "strength": 0.5, "output": "from.jpg", "quality": 80}`,
		`{"prompt": "a fox", "seed": 42, "input": "in.png", "mask": "mask.png", "only_masked": true, "steps": 3, "output": "paint.png"}`,
		`{"prompt": "any seed", "output": "any.png"}`)
	img, half := start(64, 32)
	writePNG(t, ".", "in.png", img)
	writePNG(t, ".", "mask.png", half)
	o := drawBatch(t, model, "-o", "out") // which it makes
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, 6, strings.Count(o.out, "\n"), o.out)
	require.Contains(t, o.errors, "3 of 5 jobs, ")
	require.Contains(t, o.errors, "5 jobs done, 0 already there, 0 failed")
	requireFiles(t, "out", "jobs-0001.png", "fox-01.webp", "fox-02.webp", "from.jpg", "paint.png", "any.png")

	alone := sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-s", "42", "--sampler", "euler", "-o", "alone.png")...)
	require.Equal(t, ExitOK, alone.code, alone.errors)
	requireSame(t, readPNG(t, "alone.png"), readPNG(t, "out/jobs-0001.png"), 1)
	require.Contains(t, sdgo(t, "info", "out/from.jpg").out, "Denoising strength: 0.5")
	require.Contains(t, sdgo(t, "info", "out/paint.png").out, "Inpaint area: Only masked")
	require.Contains(t, sdgo(t, "info", "out/fox-02.webp").out, "Seed: 43")

	// Again: nothing to do.
	before := map[string]time.Time{}
	stamp := func(name string) time.Time {
		info, err := os.Stat(filepath.Join("out", name))
		require.NoError(t, err)
		return info.ModTime()
	}
	names := []string{"jobs-0001.png", "fox-01.webp", "fox-02.webp", "from.jpg", "paint.png", "any.png"}
	for _, name := range names {
		before[name] = stamp(name)
	}
	o = drawBatch(t, model, "-o", "out")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Empty(t, o.out)
	require.Contains(t, o.errors, "0 jobs done, 5 already there, 0 failed")

	// What was changed, lost or damaged is drawn again: a field, a picture's
	// contents, a file.
	writeJobs(t,
		`{"seed": 42, "prompt": "a fox"}`, "",
		`{"prompt": "a fox", "seed": 42, "count": 2, "output": "fox-%02d.webp", "negative": "blurry"}`,
		`{"prompt": "a fox", "seed": 42, "input": "in.png", "strength": 0.5, "output": "from.jpg", "quality": 80}`,
		`{"prompt": "a vixen", "seed": 42, "input": "in.png", "mask": "mask.png", "only_masked": true, "steps": 3, "output": "paint.png"}`,
		`{"prompt": "any seed", "output": "any.png"}`)
	img.SetNRGBA(0, 0, color.NRGBA{9, 9, 9, 255})
	writePNG(t, ".", "in.png", img)
	require.NoError(t, os.WriteFile("out/any.png", []byte("\x89PNG\r\n\x1a\n and no more"), 0o666))
	require.NoError(t, os.Remove("out/fox-02.webp"))
	o = drawBatch(t, model, "-o", "out")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.errors, "4 jobs done, 1 already there, 0 failed")
	require.Equal(t, before["jobs-0001.png"], stamp("jobs-0001.png"))
	require.NotEqual(t, before["paint.png"], stamp("paint.png"))
}

// Whatever is wrong with a line, nothing is started: the error says where and what.
func TestBatchLinesAreChecked(t *testing.T) {
	model := tinyModel(t)
	t.Chdir(t.TempDir())
	img, half := start(64, 32)
	writePNG(t, ".", "in.png", img)
	writePNG(t, ".", "mask.png", half)
	require.NoError(t, os.WriteFile("text.png", []byte("not a picture"), 0o666))
	good := `{"prompt": "a fox", "seed": 1}`
	for line, want := range map[string]string{
		`{"prompt": "a", "stepz": 3}`:                                           `stepz: unknown field; did you mean "steps"?`,
		`{"prompt": "a", "p": "b"}`:                                             `p: unknown field; did you mean "prompt"?`,
		`{"prompt": "a", "steps": "few"}`:                                       `steps: must be a whole number, got "few"`,
		`{"prompt": "a", "steps": 2.5}`:                                         `steps: must be a whole number, got 2.5`,
		`{"prompt": "a", "steps": 0}`:                                           "steps: must be 1 to 1000, got 0",
		`{"prompt": "a", "steps": 1001}`:                                        "steps: must be 1 to 1000, got 1001",
		`{"prompt": "a", "width": 100}`:                                         "width: must be a multiple of 8 from 8 to 8192, got 100",
		`{"prompt": "a", "sampler": "eular"}`:                                   `sampler: unknown sampler "eular"`,
		`{"prompt": "a", "clip_skip": 9}`:                                       "clip_skip: must be 1 to 2, got 9",
		`{"seed": 1}`:                                                           `no "prompt"`,
		`{"prompt": "a", "model": "x"}`:                                         `"model" belongs on the command line`,
		`{"prompt": "a", "taesd": "x"}`:                                         `"taesd" belongs on the command line`,
		`{"prompt": "a", "preview": "x.png"}`:                                   `"preview" is not for batches`,
		`{"prompt": "a", "hires_steps": 3}`:                                     "hires_steps: there is no hires pass",
		`{"prompt": "a", "hires": "2x", "hires_upscaler": "none.pth"}`:          "hires_upscaler none.pth: " + noFile,
		`{"prompt": "a", "input": "in.png", "mask": "mask.png", "hires": "2x"}`: `"hires" belongs to a job without a "mask"`,
		`{"prompt": "a", "json": true}`:                                         `"json" belongs on the command line`,
		`{"prompt": "a", "prompts": "x"}`:                                       `"prompts" is not for batches`,
		`{"prompt": "a", "strength": 0.5}`:                                      `"strength" belongs to a job with`,
		`{"prompt": "a", "mask_blur": 3}`:                                       `"mask_blur" belongs to a job with a "mask"`,
		`{"prompt": "a", "mask": "mask.png"}`:                                   "no picture",
		`{"prompt": "a", "input": "none.png"}`:                                  "input none.png: " + noFile,
		`{"prompt": "a", "input": "text.png"}`:                                  "input text.png: not a picture",
		`{"prompt": "a", "input": "in.png", "mask": "none.png"}`:                "mask none.png: " + noFile,
		`{"prompt": "a", "input": "-"}`:                                         `"input": must be the name of a file`,
		`{"prompt": "a", "input": "in.png", "strength": 2}`:                     "strength: must be 0 to 1, got 2",
		`{"prompt": "(a:1.2.3)"}`:                                               "prompt: ",
		`{"prompt": "a", "output": "x.gif"}`:                                    "output x.gif: must end in",
		`{"prompt": "a", "output": "none/x.png"}`:                               "the folder none does not exist",
		`{"prompt": "a", "output": "-"}`:                                        "the name of a file",
		`{"prompt": "a", "output": "jobs-0001.png"}`:                            `output "jobs-0001.png": the job of line 1 writes it, too`,
		`{"prompt": "a", "output": "x.png", "format": "webp"}`:                  "two formats",
		`{"prompt": "a", "quality": 50}`:                                        "quality: only JPEG has one",
		`{"prompt": "a", "only_masked": "yes", "input": "a", "mask": 1}`:        `only_masked: must be true or false, got "yes"`,
		`{"prompt": "a <lora:none:1>"}`:                                         `prompt: "none": no adapter is attached`,
		`[`:                                                                     "must be a JSON object",
	} {
		writeJobs(t, good, line)
		o := sdgo(t, "batch", "-m", model, "jobs.jsonl")
		o.requireError(t, ExitFailure, "jobs.jsonl:2: ", want)
		requireFiles(t, ".", "jobs.jsonl", "in.png", "mask.png", "text.png")
	}
	writeJobs(t, good, "[")
	sdgo(t, "batch", "-m", "none", "jobs.jsonl", "-o", "new").requireError(t, ExitFailure, "jobs.jsonl:2: ")
	requireFiles(t, ".", "jobs.jsonl", "in.png", "mask.png", "text.png")
	writeJobs(t, good)
	for _, c := range []struct {
		code int
		line []string
		want string
	}{
		{ExitUsage, []string{"batch", "-m", model}, "the file of jobs is missing"},
		{ExitFailure, []string{"batch", "-m", model, "none.jsonl"}, "none.jsonl: " + noFile},
		{ExitFailure, []string{"batch", "-m", model, "jobs.jsonl", "-o", "none/new"}, "-o: the folder none/new cannot be created: "},
		{ExitUsage, []string{"batch", "-m", model, "jobs.jsonl", "--batch-size", "0"}, "--batch-size: must be 1 to 64, got 0"},
		{ExitUsage, []string{"batch", "-m", model, "jobs.jsonl", "--prompts", "x"}, "one argument too many"},
	} {
		sdgo(t, c.line...).requireError(t, c.code, c.want)
	}
}

// No job writes what another writes or any reads, however the files are spelled.
func TestBatchPlaces(t *testing.T) {
	model := tinyModel(t)
	jobsFile(t)
	img, _ := start(64, 32)
	writePNG(t, ".", "in.png", img)
	here, err := os.Getwd()
	require.NoError(t, err)
	require.NoError(t, os.Mkdir("folder", 0o777))
	require.NoError(t, os.Symlink(here, "link"))
	plain := `{"prompt": "a", "output": "a.png"}`
	for _, c := range []struct{ first, second, want string }{
		{plain, `{"prompt": "b", "output": "` + filepath.ToSlash(here) + `/a.png"}`, "jobs.jsonl:2: output"},
		{plain, `{"prompt": "b", "output": "folder/../a.png"}`, "jobs.jsonl:2: output"},
		{plain, `{"prompt": "b", "output": "link/a.png"}`, "the job of line 1 writes it, too"},
		{`{"prompt": "b", "output": "a.png", "hires": "2x", "save_stages": true}`, `{"prompt": "b", "output": "a-stage1.png"}`, "writes it, too"},
		{plain, `{"prompt": "b", "input": "in.png", "output": "in.png"}`, "the job of line 2 reads it"},
		{`{"prompt": "b", "input": "link/in.png"}`, `{"prompt": "b", "output": "in.png"}`, "the job of line 1 reads it"},
		{`{"prompt": "b", "output": "in.png"}`, `{"prompt": "b", "input": "in.png"}`, "the job of line 1 writes what this one reads"},
	} {
		writeJobs(t, c.first, c.second)
		drawBatch(t, model).requireError(t, ExitFailure, c.want)
		requireFiles(t, ".", "jobs.jsonl", "in.png", "folder", "link")
	}
}

// A job that fails when its turn comes is reported, and the others continue.
func TestBatchContinues(t *testing.T) {
	model := tinyModel(t)
	jobsFile(t, `{"prompt": "a", "seed": 1}`, `{"prompt": "b", "input": "in.png", "mask": "small.png"}`,
		`{"prompt": "c", "seed": 1}`, `{"prompt": "d", "input": "cut.png"}`)
	img, _ := start(64, 32)
	whole, err := os.ReadFile(writePNG(t, ".", "in.png", img))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("cut.png", whole[:len(whole)-30], 0o666))
	writePNG(t, ".", "small.png", image.NewGray(image.Rect(0, 0, 8, 8)))
	for _, size := range []string{"1", "4"} {
		require.NoError(t, os.RemoveAll("jobs-0001.png"))
		o := drawBatch(t, model, "--batch-size", size)
		require.Equal(t, ExitFailure, o.code, o.errors)
		for _, want := range []string{"jobs.jsonl:2: mask: must have the picture's 64x32 pixels, got 8x8",
			"jobs.jsonl:4: input cut.png: a damaged png", "sdgo: 2 of 4 jobs failed; the first: jobs.jsonl:2: mask"} {
			require.Contains(t, o.errors, want)
		}
		requireFiles(t, ".", "jobs.jsonl", "in.png", "small.png", "cut.png", "jobs-0001.png", "jobs-0003.png")
	}
}

func TestBatchOfPrompts(t *testing.T) {
	model := tinyModel(t)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("list.txt", []byte("\xef\xbb\xbfa fox\n\na teapot\n"), 0o666))
	args := with("batch", "-m", model, "--prompts", "list.txt", "--format", "webp", "--json")
	o := sdgo(t, args...)
	require.Equal(t, ExitOK, o.code, o.errors)
	requireFiles(t, ".", "list.txt", "list-0001.webp", "list-0003.webp")
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	var events []string
	for _, line := range lines {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		if s := fmt.Sprint(e["event"]); s == "job" || s == "image" {
			events = append(events, s)
		}
	}
	require.Equal(t, []string{"image", "job", "image", "job"}, events)
	var done report.Done
	requireEvent(t, lines[len(lines)-1], "done", &done)
	require.Equal(t, &report.Jobs{Done: 2}, done.Jobs)
	require.Equal(t, 2, done.Images)

	o = sdgo(t, args...)
	require.Contains(t, o.out, `{"event":"job","line":3,"state":"skipped","images":0}`)
}

// Further passes, and the networks that they enlarge with.
func TestBatchHires(t *testing.T) {
	model := tinyModel(t)
	esrgan, err := filepath.Abs(enlarge2)
	require.NoError(t, err)
	jobsFile(t, `{"prompt": "a", "seed": 1, "hires": "2x", "hires_upscaler": "`+filepath.ToSlash(esrgan)+`", "hires_steps": 1, "save_stages": true}`,
		`{"prompt": "a", "seed": 1, "hires_size": "96x48", "hires_steps": 1}`)
	o := drawBatch(t, model)
	require.Equal(t, ExitOK, o.code, o.errors)
	requireFiles(t, ".", "jobs.jsonl", "jobs-0001.png", "jobs-0001-stage1.png", "jobs-0002.png")
	require.Equal(t, image.Rect(0, 0, 128, 64), readPNG(t, "jobs-0001.png").Bounds())
	require.Equal(t, image.Rect(0, 0, 96, 48), readPNG(t, "jobs-0002.png").Bounds())
}

// Ctrl-C keeps what is finished, and the next run continues from there.
func TestBatchInterrupted(t *testing.T) {
	model := tinyModel(t)
	jobsFile(t, `{"prompt": "a", "seed": 1}`, `{"prompt": "b", "seed": 1}`, `{"prompt": "c", "seed": 1}`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stdout := &cancelAfter{text: `"step","picture":3`, cancel: cancel}
	var stderr strings.Builder
	args := []string{"batch", "-m", model, "jobs.jsonl", "-W", "16", "-H", "16", "--steps", "2", "--json", "--batch-size", "1"}
	require.Equal(t, ExitInterrupted, Run(ctx, args, nil, stdout, &stderr), stderr.String())
	require.Equal(t, "sdgo: interrupted; 2 of 3 jobs finished\n", stderr.String())
	requireFiles(t, ".", "jobs.jsonl", "jobs-0001.png", "jobs-0002.png")
	o := sdgo(t, args...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, `"jobs":{"done":1,"skipped":2,"failed":0}`)
}

// What the command line says of passes holds for jobs that have some; of networks it has
// the files, and jobs their names.
func TestBatchDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("jobs", 0o777))
	_, f, err := parse(commands(), strings.Fields("batch --hires-strength 0.5,0.3 --hires-steps 4 --strength 0.6 --mask-blur 2 --eta 0.5 --guidance cfg_rescale:phi=0.5 -s 7 --refiner a/r.safetensors"))
	require.NoError(t, err)
	maker := newJobMaker(f, "", sd.Options{})
	for line, want := range map[string]string{
		`{"prompt": "a"}`: `{"prompt":"a","sampler_options":{"eta":0.5},"guidance":"cfg_rescale","guidance_options":{"phi":0.5},"seed":7,"refiner":"a/r.safetensors"}`,
		`{"prompt": "a", "hires": "2x,3x", "hires_steps": "5", "eta": null, "guidance": "apg", "refiner": null}`: `{"prompt":"a","guidance":"apg","seed":7,"hires":[{"scale":2,"strength":0.5,"steps":5},{"scale":3,"strength":0.3,"steps":5}]}`,
		`{"prompt": "a", "hires": [{"scale": 2}], "sampler_options": {"s_noise": 2}, "guidance_options": {"stop": 0.5}}`: `{"prompt":"a","sampler_options":{"eta":0.5,"s_noise":2},"guidance":"cfg_rescale",` +
			`"guidance_options":{"phi":0.5,"stop":0.5},"seed":7,"hires":[{"scale":2}],"refiner":"a/r.safetensors"}`,
		`{"prompt": "a", "guidance": null, "eta": null, "input": "in.png"}`:                   `{"prompt":"a","input":"jobs/in.png","strength":0.6,"seed":7,"refiner":"a/r.safetensors"}`,
		`{"prompt": "a", "guidance": null, "eta": null, "input": "/in.png", "mask": "m.png"}`: `{"prompt":"a","input":"/in.png","strength":0.6,"mask":"jobs/m.png","mask_blur":2,"seed":7,"refiner":"a/r.safetensors"}`,
		`{"prompt": "a", "to": "b", "at": 0.25, "guidance": null, "eta": null}`:               `{"prompt":"a","seed":7,"to":"b","at":0.25,"refiner":"a/r.safetensors"}`,
	} {
		members, err := requests.Members([]byte(line))
		require.NoError(t, err)
		j, err := maker.job(jobLine{file: "jobs/jobs.jsonl", number: 1, members: members})
		require.NoError(t, err, line)
		got, err := requestJSON(j.request)
		require.NoError(t, err)
		require.Equal(t, want, strings.ReplaceAll(string(got), `\\`, "/"))
	}
}

func TestBatchNamesNetworks(t *testing.T) {
	base, refiner := absolute(t, xlBase), absolute(t, xlRefiner)
	jobsFile(t, `{"prompt": "a", "refiner": "refiner"}`, `{"prompt": "a", "refiner": null, "output": "alone.png"}`)
	args := []string{"batch", "-q", "-m", base, "jobs.jsonl", "-W", "16", "-H", "16", "--steps", "2", "-s", "1"}
	o := sdgo(t, append(args, "--refiner", refiner)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, textsOf(t, "jobs-0001.png")["parameters"], "Refiner: refiner")
	require.NotContains(t, textsOf(t, "alone.png")["parameters"], "Refiner")
	sdgo(t, args...).requireError(t, ExitFailure, `jobs.jsonl:1: "refiner" belongs on the command line, too: --refiner FILE names its file`)
	writeJobs(t, `{"prompt": "a", "refiner": "other"}`)
	sdgo(t, append(args, "--refiner", refiner)...).requireError(t, ExitFailure, `jobs.jsonl:1: refiner: must be that of the command line, "refiner", got "other"`)
}

// A number that is wrong is named as the user named it.
func TestWrongNumbers(t *testing.T) {
	model := tinyModel(t)
	for line, want := range map[string]string{
		"--eta 101":                             "--eta: must be 0 to 100, got 101",
		"--order 2":                             "--order: euler_a takes no order; it takes eta and s_noise",
		"--sampler lms --order 9":               "--order: must be 1 to 4, got 9",
		"--sampler unipc --order 4":             "--order: must be a whole number, 1 to 3 with unipc, got 4",
		"--guidance apg:phi=1":                  "--guidance: apg takes no phi; it takes momentum",
		"--guidance cfg_zero_star:phi=1":        "--guidance: cfg_zero_star takes no phi",
		"--sampler euler --s-tmin 3 --s-tmax 2": "--s-tmin: must be at most s_tmax, 2, with euler, got 3",
	} {
		sdgo(t, with("txt2img", append(strings.Fields(line), "-m", model, "-p", "a", "-o", filepath.Join(t.TempDir(), "x.png"))...)...).requireError(t, ExitUsage, want)
	}
	jobsFile(t, `{"prompt": "a", "sampler_options": {"order": 2}}`)
	sdgo(t, "batch", "-m", model, "jobs.jsonl").requireError(t, ExitFailure, "jobs.jsonl:1: order: euler_a takes no order")
}
