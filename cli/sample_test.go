package cli

import (
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const pixelModels = "../testdata/pixel/"

// pictureSize is the size of a picture's file.
func pictureSize(t *testing.T, path string) image.Point {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	c, err := png.DecodeConfig(f)
	require.NoError(t, err)
	return image.Pt(c.Width, c.Height)
}

func TestSample(t *testing.T) {
	folder := t.TempDir()
	sheet, back := filepath.Join(folder, "sheet.png"), filepath.Join(folder, "back.png")
	o := sdgo(t, "sample", "-m", pixelModels+"guided.safetensors", "--class", "3", "-n", "4", "--grid", "2", "-W", "16", "-H", "8", "--steps", "5", "-s", "1",
		"--batch-size", "4", "-o", sheet, "--trajectory", back, "--trajectory-columns", "3")
	require.Zero(t, o.code, o.errors)
	require.Equal(t, sheet+"\n"+back+"\n", o.out)
	require.Equal(t, image.Pt(32, 16), pictureSize(t, sheet))
	require.Equal(t, image.Pt(48, 32), pictureSize(t, back), "three of five steps, four rows")

	// The first picture's parameters make it again.
	one := filepath.Join(folder, "one.png")
	o = sdgo(t, "sample", "-m", pixelModels+"guided.safetensors", "--class", "3", "-W", "16", "-H", "8", "--steps", "5", "-s", "1", "-o", one)
	require.Zero(t, o.code, o.errors)
	o = sdgo(t, "info", "--json", one)
	var facts struct{ Request json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(o.out), &facts))
	require.Contains(t, string(facts.Request), `"class": "3"`)
	jobs := filepath.Join(folder, "jobs.jsonl")
	job := strings.ReplaceAll(string(facts.Request), "\n", "")
	require.NoError(t, os.WriteFile(jobs, []byte(job+"\n"+`{"class": "5", "seed": 2, "steps": 2, "width": 8, "height": 8}`+"\n"), 0o666))
	o = sdgo(t, "batch", jobs, "-m", pixelModels+"guided.safetensors", "-o", filepath.Join(folder, "jobs"))
	require.Zero(t, o.code, o.errors)
	again, err := os.ReadFile(filepath.Join(folder, "jobs", "jobs-0001.png"))
	require.NoError(t, err)
	require.Equal(t, image.Pt(8, 8), pictureSize(t, filepath.Join(folder, "jobs", "jobs-0002.png")))
	first, err := os.ReadFile(one)
	require.NoError(t, err)
	require.Equal(t, pixelsOf(t, first), pixelsOf(t, again))
}

func pixelsOf(t *testing.T, file []byte) []uint8 {
	t.Helper()
	img, err := png.Decode(strings.NewReader(string(file)))
	require.NoError(t, err)
	var all []uint8
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			all = append(all, uint8(r>>8), uint8(g>>8), uint8(b>>8))
		}
	}
	return all
}

// A cascade keeps the picture before each stage, and says what stages took.
func TestSampleStages(t *testing.T) {
	folder := t.TempDir()
	up := pixelModels + "upsampler.safetensors"
	o := sdgo(t, "sample", "-m", pixelModels+"ddpm", "--stages", up, "--stage-steps", "2", "--save-each-stage", "--steps", "3", "-W", "8", "-H", "8", "-s", "1",
		"-o", filepath.Join(folder, "x.png"), "--json")
	require.Zero(t, o.code, o.errors)
	requireFiles(t, folder, "x.png", "x-stage1.png")
	require.Equal(t, image.Pt(8, 8), pictureSize(t, filepath.Join(folder, "x-stage1.png")))
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	var done struct {
		Timings struct{ Stages []float64 }
	}
	requireEvent(t, lines[len(lines)-1], "done", &done)
	require.Len(t, done.Timings.Stages, 1)
	large := pictureSize(t, filepath.Join(folder, "x.png"))
	require.Greater(t, large.X, 8)

	// What the picture says is a job, with the stage's file on the command line or in the job.
	o = sdgo(t, "info", "--json", filepath.Join(folder, "x.png"))
	var facts struct{ Request json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(o.out), &facts))
	again := filepath.Join(folder, "again.jsonl")
	require.NoError(t, os.WriteFile(again, compact(t, facts.Request), 0o666))
	o = sdgo(t, "batch", again, "-m", pixelModels+"ddpm", "--stages", up, "-o", filepath.Join(folder, "again"))
	require.Zero(t, o.code, o.errors)
	require.Equal(t, readPNG(t, filepath.Join(folder, "x.png")), readPNG(t, filepath.Join(folder, "again", "again-0001.png")))
	named, err := json.Marshal(map[string]any{"class": "none", "stages": up, "stage_steps": 2, "save_each_stage": true, "steps": 3, "width": 8, "height": 8, "seed": 1})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(again, named, 0o666))
	o = sdgo(t, "batch", again, "-m", pixelModels+"ddpm", "-o", filepath.Join(folder, "named"))
	require.Zero(t, o.code, o.errors)
	require.Equal(t, readPNG(t, filepath.Join(folder, "x.png")), readPNG(t, filepath.Join(folder, "named", "again-0001.png")))
	requireFiles(t, filepath.Join(folder, "named"), "again-0001.png", "again-0001-stage1.png")

	o = sdgo(t, "sample", "-m", up, "-i", filepath.Join(folder, "x-stage1.png"), "--steps", "2", "-s", "1", "-o", filepath.Join(folder, "y.png"))
	require.Zero(t, o.code, o.errors)
	x, err := os.ReadFile(filepath.Join(folder, "x.png"))
	require.NoError(t, err)
	y, err := os.ReadFile(filepath.Join(folder, "y.png"))
	require.NoError(t, err)
	require.Equal(t, pixelsOf(t, x), pixelsOf(t, y), "the stage alone")

	// Noise on the small picture, the same in a cascade and alone, and in a job.
	in := filepath.Join(folder, "x-stage1.png")
	noisy, alone := filepath.Join(folder, "noisy.png"), filepath.Join(folder, "alone.png")
	o = sdgo(t, "sample", "-m", pixelModels+"ddpm", "--stages", up, "--stage-steps", "2", "--noise-level", "300", "--steps", "3", "-W", "8", "-H", "8", "-s", "1", "-o", noisy)
	require.Zero(t, o.code, o.errors)
	o = sdgo(t, "sample", "-m", up, "-i", in, "--noise-level", "300", "--steps", "2", "-s", "1", "-o", alone)
	require.Zero(t, o.code, o.errors)
	require.Equal(t, readPNG(t, noisy), readPNG(t, alone))
	require.NotEqual(t, readPNG(t, filepath.Join(folder, "x.png")), readPNG(t, noisy))
	jobs := filepath.Join(folder, "jobs.jsonl")
	require.NoError(t, os.WriteFile(jobs, []byte(`{"class": "none", "input": "x-stage1.png", "noise_level": 300, "steps": 2, "seed": 1}`), 0o666))
	o = sdgo(t, "batch", jobs, "-m", up, "-o", filepath.Join(folder, "jobs"))
	require.Zero(t, o.code, o.errors)
	require.Equal(t, readPNG(t, alone), readPNG(t, filepath.Join(folder, "jobs", "jobs-0001.png")))
}

// x4Model is a tiny model that enlarges pictures as a text says.
const x4Model = "../testdata/x4/x4"

// A picture is enlarged as a text says by img2img, and its parameters draw it again.
func TestEnlargesByText(t *testing.T) {
	folder := t.TempDir()
	small, large, again := filepath.Join(folder, "small.png"), filepath.Join(folder, "large.png"), filepath.Join(folder, "again.png")
	o := sdgo(t, "sample", "-m", pixelModels+"ddpm", "--steps", "2", "-s", "1", "-o", small)
	require.Zero(t, o.code, o.errors)
	o = sdgo(t, "img2img", "-m", x4Model, "-i", small, "-p", "a fox", "--steps", "2", "-s", "3", "--noise-level", "30", "-o", large)
	require.Zero(t, o.code, o.errors)
	img := readPNG(t, large)
	require.Equal(t, readPNG(t, small).Bounds().Size().Mul(4), img.Bounds().Size())
	o = sdgo(t, "info", large)
	require.Contains(t, o.out, "Noise level: 30")
	jobs := filepath.Join(folder, "jobs.jsonl")
	require.NoError(t, os.WriteFile(jobs, []byte(`{"prompt": "a fox", "input": "small.png", "steps": 2, "seed": 3, "noise_level": 30}`+"\n"), 0o666))
	o = sdgo(t, "batch", "-m", x4Model, "-q", jobs, "-o", again)
	require.Zero(t, o.code, o.errors)
	require.Equal(t, img, readPNG(t, strings.TrimSpace(o.out)))
	o = sdgo(t, "img2img", "-m", x4Model, "-i", small, "-p", "a fox", "--noise-level", "351", "-o", again)
	require.Contains(t, o.errors, "--noise-level: must be 0 to 350 of this model, got 351")
}

func TestSampleRefuses(t *testing.T) {
	model := pixelModels + "guided.safetensors"
	text := tinyModel(t)
	out := filepath.Join(t.TempDir(), "x.png")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"sample", "-m", text, "-o", out}, "tiny draws from text: sdgo txt2img -m " + text + " -p PROMPT"},
		{[]string{"txt2img", "-m", x4Model, "-p", "a fox", "-o", out}, "x4 enlarges pictures as a text says: sdgo img2img -m " + x4Model + " -i FILE -p PROMPT"},
		{[]string{"sample", "-m", x4Model, "-o", out}, "x4 enlarges pictures as a text says: sdgo img2img -m " + x4Model + " -i FILE -p PROMPT"},
		{[]string{"txt2img", "-m", model, "-p", "a fox", "-o", out}, "guided takes no text: sdgo sample -m " + model + " --class CLASS draws with it"},
		{[]string{"txt2img", "-m", pixelModels + "ddpm", "-p", "", "-o", out}, "ddpm takes no text: sdgo sample -m " + pixelModels + "ddpm draws with it"},
		{[]string{"txt2img", "-m", model}, "models that take none are for sdgo sample"},
		{[]string{"sample", "-m", model, "-o", out}, "--class: the model draws by class, which must be given: 0 to 9"},
		{[]string{"sample", "-m", model, "--class", "cat", "-o", out}, `--class: must be a number, 0 to 9, because the model's classes have no names, got "cat"`},
		{[]string{"sample", "-m", model, "--class", "1", "--schedule", "10", "--steps", "4", "-o", out}, "--steps: must be 10, as schedule 10 says, got 4"},
		{[]string{"sample", "-m", model, "--class", "1", "--trajectory-columns", "4", "-o", out}, "--trajectory-columns needs --trajectory FILE"},
		{[]string{"sample", "-m", model, "--class", "1", "--trajectory", out, "-o", out}, "--trajectory and -o both name"},
		{[]string{"sample", "-m", model, "--class", "1", "--trajectory", "t.png", "--trajectory-columns", "0", "-o", out}, "--trajectory-columns: must be 1 to 256, got 0"},
		{[]string{"sample", "-m", model, "--class", "1", "--trajectory", "t.png", "--preview", "p.png", "-o", out}, "it needs previews of its own"},
		{[]string{"sample", "-m", model, "--class", "1", "-n", "65", "--trajectory", "t.png", "-o", out + "/%d"}, "--trajectory: shows at most 64 pictures, got 65"},
		{[]string{"sample", "-m", model, "--class", "1", "--stages", model, "-o", out}, "must be a model that enlarges pictures"},
		{[]string{"sample", "-m", model, "--class", "1", "--save-each-stage", "--grid", "2", "-o", out}, "--save-each-stage needs a file for each picture"},
		{[]string{"sample", "-m", model, "--class", "1", "-p", "x"}, "-p"},
		{[]string{"sample", "-m", model, "--class", "1", "--clip-l", "x", "-o", out}, "unknown flag --clip-l"},
		{[]string{"sample", "-m", model, "--class", "1", "--noise-level", "3", "-o", out}, "--noise-level: is for pictures that a model enlarges"},
		{[]string{"sample", "-m", model, "--class", "1", "--noise-level", "1000", "-o", out}, "--noise-level: must be 0 to 999, got 1000"},
		{[]string{"sample", "-m", model, "--class", "1,,2", "-o", out}, "--class: a class must not be empty"},
		{[]string{"sample", "-m", model, "--class", "1,cat", "-o", out}, `--class: must be a number, 0 to 9, because the model's classes have no names, got "cat"`},
		{[]string{"sample", "-m", model, "--class", "1,2", "-n", "33", "--trajectory", "t.png", "-o", out + "/%d"}, "--trajectory: shows at most 64 pictures, got 66"},
		{[]string{"sample", "--class", "1", "-o", out}, "no model: -m FILE names one that takes no text"},
	} {
		o := sdgo(t, c.args...)
		require.NotZero(t, o.code, c.args)
		require.Contains(t, o.errors, c.want)
	}
	requireFiles(t, filepath.Dir(out))

	// A class is nothing for a model that draws from text.
	jobs := filepath.Join(t.TempDir(), "jobs.jsonl")
	require.NoError(t, os.WriteFile(jobs, []byte(`{"class": "3", "seed": 1}`), 0o666))
	o := sdgo(t, "batch", jobs, "-m", text, "-o", filepath.Dir(out))
	require.NotZero(t, o.code)
	require.Contains(t, o.errors, "the model draws from text, and has no classes")
}

// What a picture becomes on the way to noise, in a row or in several.
func TestForward(t *testing.T) {
	folder := t.TempDir()
	in, out := filepath.Join(folder, "in.png"), filepath.Join(folder, "out.png")
	o := sdgo(t, "sample", "-m", pixelModels+"ddpm", "-W", "32", "-H", "16", "--steps", "1", "-s", "1", "-o", in)
	require.Zero(t, o.code, o.errors)
	o = sdgo(t, "forward", "-i", in, "--steps", "4", "-s", "1", "-o", out)
	require.Zero(t, o.code, o.errors)
	require.Equal(t, out+"\n", o.out)
	require.Equal(t, image.Pt(128, 16), pictureSize(t, out))
	clean, err := os.ReadFile(in)
	require.NoError(t, err)
	sheet, err := os.ReadFile(out)
	require.NoError(t, err)
	row, want := pixelsOf(t, sheet), pixelsOf(t, clean)
	for y := range 16 {
		require.Equal(t, want[y*96:][:96], row[y*4*96:][:96], "the first is the picture itself")
	}
	byName := sheet
	for _, process := range []string{"cosine", "vp", "sub-vp", "ve", "edm", "flow", "scaled_linear", "sigmoid"} {
		o = sdgo(t, "forward", "-i", in, "--process", process, "--steps", "4", "--side", "16", "--grid", "2", "-s", "1", "-o", out)
		require.Zero(t, o.code, o.errors)
		require.Equal(t, image.Pt(32, 16), pictureSize(t, out))
	}
	o = sdgo(t, "forward", "-i", in, "-m", pixelModels+"ddpm", "--steps", "4", "-s", "1", "-o", out)
	require.Zero(t, o.code, o.errors)
	sheet, err = os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, pixelsOf(t, byName), pixelsOf(t, sheet), "the model's process is linear")

	for args, want := range map[string]string{
		"":                              "no picture: -i FILE names it",
		"-i in.png --steps 1":           "--steps: must be 2 to 256, got 1",
		"-i in.png --grid 0":            "--grid: must be 1 to 256, got 0",
		"-i in.png --side 0":            "--side: must be 1 to 8192, got 0",
		"-i in.png --seed -2":           "--seed: must be 0 to 18446744073709551615, or -1 for a random one, got -2",
		"-i in.png --rng dice":          `--rng: must be torch or philox, got "dice"`,
		"-i in.png --process square":    `--process: unknown process "square"`,
		"-i in.png --process vp -m x":   "--process: the model has its own; use one of them",
		"-i in.png -o in.png":           "",
		"-i " + in + " --process vp -o": "",
	} {
		o := sdgo(t, append([]string{"forward"}, strings.Fields(args)...)...)
		require.NotZero(t, o.code, args)
		require.Contains(t, o.errors, want, args)
	}
}

// The consistency model of the package adaptive-terrain-diffusion draws what the package
// itself draws: testdata/pixel/terrain.py. SDGO_TERRAIN is its weights, under guided
// diffusion's names, as a safetensors file.
func TestSampleTerrain(t *testing.T) {
	model := os.Getenv("SDGO_TERRAIN")
	for _, folder := range []string{"../../shared/real", "../../../shared/real"} {
		if path := filepath.Join(folder, "ddpm", "terrain.safetensors"); model == "" && isThere(path) {
			model = path
		}
	}
	if model == "" {
		t.Skip("there is no terrain.safetensors")
	}
	out := filepath.Join(t.TempDir(), "out.png")
	for seed, difficulty := range []string{"0.01", "0.4", "1"} {
		o := sdgo(t, "sample", "-m", model, "--class", difficulty, "-s", strconv.Itoa(seed), "-o", out)
		require.Zero(t, o.code, o.errors)
		got, err := os.ReadFile(out)
		require.NoError(t, err)
		reference, err := os.ReadFile(pixelModels + "terrain-" + difficulty + ".png")
		require.NoError(t, err)
		pixels, want := pixelsOf(t, got), pixelsOf(t, reference)
		require.Len(t, pixels, len(want))
		differ := 0
		for i := range want { // a thousandth of the range is a quarter of a level
			require.InDelta(t, want[i], pixels[i], 1)
			if pixels[i] != want[i] {
				differ++
			}
		}
		require.Less(t, differ, len(want)/100, "pixels whose rounding differs")
	}
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Classes may be repeated, and be lists; each is drawn as if it were alone.
func TestSampleClasses(t *testing.T) {
	folder := t.TempDir()
	draw := func(out string, more ...string) {
		args := []string{"sample", "-m", pixelModels + "guided.safetensors", "-W", "8", "-H", "8", "--steps", "2", "-s", "1", "-o", filepath.Join(folder, out)}
		o := sdgo(t, append(args, more...)...)
		require.Zero(t, o.code, o.errors)
	}
	draw("list-%d.png", "--class", "3,5", "--class", "7", "-n", "2")
	requireFiles(t, folder, "list-1.png", "list-2.png", "list-3.png", "list-4.png", "list-5.png", "list-6.png")
	draw("alone-%d.png", "--class", "5", "-n", "2")
	for i, alone := range []string{"alone-1.png", "alone-2.png"} {
		require.Equal(t, readPNG(t, filepath.Join(folder, alone)), readPNG(t, filepath.Join(folder, fmt.Sprintf("list-%d.png", 3+i))))
	}
	draw("sheet.png", "--class", "3,5,7", "-n", "2", "--grid", "2")
	require.Equal(t, image.Pt(16, 24), pictureSize(t, filepath.Join(folder, "sheet.png")))
}

func TestReadClasses(t *testing.T) {
	for args, want := range map[string][]string{
		"":                                 {""},
		"--class=tench, Tinca tinca":       {"tench, Tinca tinca"},
		"--class=tench,goldfish|--class=7": {"tench", "goldfish", "7"},
	} {
		_, f, err := parseCommand(sampleCommand(), strings.FieldsFunc(args, func(r rune) bool { return r == '|' }))
		require.NoError(t, err)
		got, err := readClasses(f)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// info says what a model draws by, its size, and its process.
func TestInfoOfModelsWithoutText(t *testing.T) {
	for model, want := range map[string][]string{
		"guided.safetensors":   {"native size  64x64", "process      DDPM of 1000 steps, linear betas from 0.0001 to 0.02, learned variance", "class        0 to 9\n", "classes      10"},
		"improved.safetensors": {"cosine betas"},
		"consistency":          {"process      consistency, noise from 0.002 to 80"},
	} {
		o := sdgo(t, "info", pixelModels+model)
		require.Zero(t, o.code, o.errors)
		for _, text := range want {
			require.Contains(t, o.out, text)
		}
	}
	var facts struct {
		Process struct{ Kind, Betas string }
		Class   struct{ Count int }
	}
	o := sdgo(t, "info", "--json", pixelModels+"guided.safetensors")
	require.NoError(t, json.Unmarshal([]byte(o.out), &facts))
	require.Equal(t, []any{"ddpm", "linear", 10}, []any{facts.Process.Kind, facts.Process.Betas, facts.Class.Count})
}

// --fastest fills in what no flag says; pictures and jobs tell what that was.
func TestFastest(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	draw := func(args ...string) string {
		path := filepath.Join(dir, "a.png")
		o := sdgo(t, append([]string{"txt2img", "-m", model, "-p", "a", "-W", "16", "-H", "16", "--steps", "6", "--sampler", "euler", "-s", "1", "-q", "-o", path}, args...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		return sdgo(t, "info", path).out
	}
	require.Contains(t, draw("--fastest"), `Step cache: "easy:threshold=0.15", `)
	require.Contains(t, draw("--fastest", "--cache", "taylor"), `Step cache: taylor, `)
	require.NotContains(t, draw(), "Step cache")

	jobs := filepath.Join(dir, "jobs.jsonl")
	require.NoError(t, os.WriteFile(jobs, []byte(`{"prompt": "a", "seed": 1, "steps": 6, "width": 16, "height": 16, "sampler": "euler"}`+"\n"), 0o666))
	batch := func(args ...string) outcome {
		o := sdgo(t, append([]string{"batch", "-m", model, "-q", "-o", filepath.Join(dir, "out"), jobs}, args...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		return o
	}
	batch()
	require.Contains(t, batch("--json").out, `"skipped":1`)
	require.Contains(t, batch("--fastest", "--json").out, `"done":1`, "another picture")
	require.Contains(t, batch("--fastest", "--json").out, `"skipped":1`)
	require.NoError(t, os.WriteFile(jobs, []byte(`{"prompt": "a", "fastest": true}`+"\n"), 0o666))
	require.Contains(t, sdgo(t, "batch", "-m", model, jobs).errors, `"fastest" belongs on the command line`)
}
