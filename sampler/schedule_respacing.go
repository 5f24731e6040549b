package sampler

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Respaced takes n of the trained timesteps, evenly spread and rounded, both ends
// included: guided-diffusion's timestep_respacing of one number, and "linspace"
// spacing of the diffusers library's DDPM and DDIM. Where there are not so many it
// interpolates.
func Respaced(p *Process, n int) (Sigmas, error) {
	last := float64(len(p.Levels()) - 1)
	return fromLevels(p, n, func(i int) float64 { return math.RoundToEven(last * fraction(n-1-i, n)) }, nil)
}

// Respacing reads a timestep_respacing of guided-diffusion: "250" is so many of the
// trained timesteps ([Respaced]); "10,15,20" so many of each of as many equal parts,
// the part at the lowest noise first; "ddim25" so many with a whole stride, which
// begin at the first. The schedule has that number of steps alone.
func Respacing(text string) (Schedule, error) {
	counts, strided, err := respacing(text)
	if err != nil {
		return Schedule{}, err
	}
	steps := 0
	for _, n := range counts {
		steps += n
	}
	s := Schedule{Name: text, Steps: steps, Description: fmt.Sprintf("%d timesteps as guided-diffusion spaces them", steps)}
	s.Sigmas = func(p *Process, n int) (Sigmas, error) {
		if n != steps {
			return nil, fmt.Errorf("schedule %s has %d steps, got %d", text, steps, n)
		}
		levels := p.Levels()
		take := sections
		if strided {
			take = stride
		}
		t, err := take(len(levels), counts)
		if err != nil {
			return nil, fmt.Errorf("schedule %s: %w", text, err)
		}
		slices.Reverse(t)
		return build(n, func(i int) float64 { return levels[t[i]] })
	}
	return s, nil
}

// respacings are those that DeepFloyd IF has names for: more steps where they matter.
var respacings = map[string]string{
	"fast27": "10,10,3,2,2", "smart27": "7,4,2,1,2,4,7", "smart50": "10,6,4,3,2,2,3,4,6,10",
	"smart100": "1,1,1,1,2,2,2,2,2,2,3,3,4,4,5,5,6,7,7,8,9,10,13", "smart185": "1,1,2,2,2,3,3,3,4,5,6,7,8,9,10,11,12,13,14,15,16,18,20",
	"super27": "1,1,1,1,1,1,1,2,5,13", "super40": "2,2,2,2,2,2,3,4,6,15", "super100": "4,4,6,6,8,8,10,10,14,30",
}

// respacing parses such a text.
func respacing(text string) (counts []int, strided bool, err error) {
	number := func(s string) (int, error) {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > maxSteps {
			return 0, fmt.Errorf("schedule must be timesteps as in 250, 10,15,20 or ddim25, got %.40q", text)
		}
		return n, nil
	}
	if rest, ok := strings.CutPrefix(text, "ddim"); ok {
		n, err := number(rest)
		return []int{n}, true, err
	}
	total := 0
	for part := range strings.SplitSeq(text, ",") {
		n, err := number(part)
		if err != nil {
			return nil, false, err
		}
		if total += n; total > maxSteps {
			return nil, false, &StepsError{total, maxSteps}
		}
		counts = append(counts, n)
	}
	return counts, false, nil
}

// stride takes timesteps 0, k, 2k, … of all, with the least k for which there are so
// many as counts has.
func stride(all int, counts []int) (t []int, err error) {
	for k := 1; k < all; k++ {
		if (all+k-1)/k != counts[0] {
			continue
		}
		for i := 0; i < all; i += k {
			t = append(t, i)
		}
		return t, nil
	}
	return nil, fmt.Errorf("no whole stride leads through %d timesteps in %d steps", all, counts[0])
}

// sections takes, of each of as many parts as there are counts, so many timesteps,
// with both ends of the part.
func sections(all int, counts []int) (t []int, err error) {
	start := 0
	for i, n := range counts {
		size := all / len(counts)
		if i < all%len(counts) {
			size++
		}
		if n > size {
			return nil, fmt.Errorf("a part of %d timesteps can't be made in %d steps", size, n)
		}
		step, at := 1.0, 0.0
		if n > 1 {
			step = float64(size-1) / float64(n-1)
		}
		for range n {
			t = append(t, start+int(math.RoundToEven(at)))
			at += step
		}
		start += size
	}
	return t, nil
}
