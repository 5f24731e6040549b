package request

import (
	"fmt"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
)

// Zero fields get defaults; a sampler may have its own schedule.
func TestDefaults(t *testing.T) {
	d := Defaults{Side: 512, Align: 8}
	q, err := Request{}.Resolve(d)
	require.NoError(t, err)
	require.Equal(t, "euler_a discrete 512 512 20 1 7", fmt.Sprint(q.Sampler.Name, " ", q.Schedule.Name, " ", q.Width, " ", q.Height, " ", q.Steps, " ", q.Count, " ", q.Guidance))
	for name, want := range map[string]string{"lcm": "lcm", "DPM++ 2M Karras": "karras", "dpm++2m": "discrete"} {
		q, err := Request{Sampler: name}.Resolve(d)
		require.NoError(t, err)
		require.Equal(t, want, q.Schedule.Name)
	}
	q, err = Request{Sampler: "lcm", Schedule: "simple"}.Resolve(d)
	require.NoError(t, err)
	require.Equal(t, "simple", q.Schedule.Name)
	q, err = Request{Sampler: "dpm++2m", Schedule: "automatic"}.Resolve(d)
	require.NoError(t, err)
	require.Equal(t, "karras", q.Schedule.Name)
}

// A picture on a canvas is drawn at the canvas's size.
func TestSizeOfCanvas(t *testing.T) {
	q, err := Request{Image: image.NewNRGBA(image.Rect(0, 0, 64, 32)), Canvas: image.Pt(96, 64)}.Resolve(Defaults{Side: 512, Align: 8})
	require.NoError(t, err)
	require.Equal(t, "96x64", fmt.Sprintf("%dx%d", q.Width, q.Height))
}

// The name of a spacing says how many steps there are.
func TestScheduleSaysTheSteps(t *testing.T) {
	d := Defaults{Side: 64, Align: 1}
	q, err := Request{Schedule: "ddim25"}.Resolve(d)
	require.NoError(t, err)
	require.Equal(t, 25, q.Steps)
	require.Equal(t, "ddim25", q.Params("m", 1).Schedule)
	q, err = Request{Schedule: "10,15,20", Steps: 45}.Resolve(d)
	require.NoError(t, err)
	require.Equal(t, 45, q.Steps)
	_, err = Request{Schedule: "250", Steps: 20}.Resolve(d)
	require.EqualError(t, err, "Steps: must be 250, as schedule 250 says, got 20")
	_, err = Request{Schedule: "20", Hires: []HiresPass{{}}}.Resolve(d)
	require.EqualError(t, err, "Hires[0].Schedule: 20 has 20 steps, and the pass is the last 20 of 28")
	q, err = Request{Schedule: "karras"}.Resolve(d)
	require.NoError(t, err)
	require.Equal(t, 20, q.Steps)
}

// A pass that names the request's own sampler has its options; another sampler has none.
func TestHiresSamplerOptions(t *testing.T) {
	r := Request{Sampler: "euler", SamplerOptions: map[string]float64{"s_churn": 2}, Hires: []HiresPass{{}, {Sampler: "Euler"}, {Sampler: "heun"}}}
	q, err := r.Resolve(Defaults{Side: 64, Align: 8})
	require.NoError(t, err)
	heun, err := sampler.Lookup("heun")
	require.NoError(t, err)
	for i, want := range []sampler.Sampler{q.Sampler, q.Sampler, heun} {
		got := q.Hires[i].Request.Sampler
		require.Equal(t, want.Name, got.Name)
		require.Equal(t, want.Options.SChurn, got.Options.SChurn)
	}
}

// What is wrong is said, and nothing is made of it on the way.
func TestStepsBeyondEveryLimit(t *testing.T) {
	d := Defaults{Side: 64, Align: 8}
	img, strength := image.NewNRGBA(image.Rect(0, 0, 64, 64)), 2.0
	for _, steps := range []int{math.MaxInt, math.MinInt, 1 << 40} {
		q, err := Request{Image: img, Steps: steps, Hires: []HiresPass{{Steps: 5, Strength: &strength}}}.Resolve(d)
		require.ErrorContains(t, err, fmt.Sprintf("Steps: must be 1 to %d, got %d", MaxSteps, steps))
		require.ErrorContains(t, err, "Hires[0].Strength: must be 0 to 1, got 2")
		require.LessOrEqual(t, q.StepsToMake(), max(steps, 0))
		require.Len(t, q.Hires, 1)
		require.Equal(t, 5, q.Hires[0].Request.StepsToMake())
	}
}
