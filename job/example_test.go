package job_test

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/request"
)

// What another program wrote into a picture, as JSON.
func ExampleReadText() {
	p, unread, err := job.ReadText(strings.Join([]string{
		"a lighthouse at dusk",
		"Negative prompt: blurry",
		"Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6, Seed: 42, Size: 512x768, ENSD: 31337, Version: v1.10.1",
	}, "\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := job.Encode(p.Request)
	fmt.Println(string(data), err)
	fmt.Println("not understood:", unread)
	// Output:
	// {"prompt":"a lighthouse at dusk","negative":"blurry","width":512,"height":768,"steps":25,"cfg_scale":6,"sampler":"dpm++2m","schedule":"karras","seed":42,"rng":"philox"} <nil>
	// not understood: [ENSD: 31337]
}

// A command's flags, put into a request.
func ExampleSet() {
	r := job.Begin(job.Txt2Img)
	fmt.Println(job.Set(&r, "prompt", "a lighthouse"))
	fmt.Println(job.Set(&r, "hires", "1.5x,2x"))
	fmt.Println(job.Set(&r, "hires-strength", "0.6"))
	fmt.Println(job.Set(&r, "steps", "0"))
	fmt.Println(r.Seed == request.RandomSeed, len(r.Hires), *r.Hires[1].Strength)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// must be 1 to 1000, got 0
	// true 2 0.6
}
