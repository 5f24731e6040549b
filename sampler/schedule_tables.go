package sampler

import "math"

// Noise levels found by search. The last one of each list is replaced by 0,
// except in the schedules whose names end in Closed.

// Align Your Steps (Sabour et al. 2024, arXiv:2404.14507), as published with
// the paper for ten steps of Stable Diffusion 1.5, SDXL and Stable Video
// Diffusion.
var (
	aysSD1 = []float64{14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092,
		0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582}
	aysSDXL = []float64{14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141,
		0.5550693289, 0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582}
	aysSVD = []float64{700, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002}
)

// The first two, rounded as in the paper's instructions and in AUTOMATIC1111.
var (
	aysSD1Rounded  = []float64{14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029}
	aysSDXLRounded = []float64{14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029}
)

// GITS (Chen et al. 2024, "On the Trajectory Regularity of ODE-based Diffusion
// Sampling", arXiv:2405.11326) for Stable Diffusion 1.5 with coefficient 1.2,
// for 2 to 20 steps.
var gits = [][]float64{
	{14.61464119, 0.803307, 0.02916753},
	{14.61464119, 1.56271636, 0.52423614, 0.02916753},
	{14.61464119, 2.36326075, 0.92192322, 0.36617002, 0.02916753},
	{14.61464119, 2.84484982, 1.24153244, 0.59516323, 0.25053367, 0.02916753},
	{14.61464119, 5.85520077, 2.05039096, 0.95350921, 0.45573691, 0.17026083, 0.02916753},
	{14.61464119, 5.85520077, 2.45070267, 1.24153244, 0.64427125, 0.29807833, 0.09824532, 0.02916753},
	{14.61464119, 5.85520077, 2.45070267, 1.36964464, 0.803307, 0.45573691, 0.25053367, 0.09824532, 0.02916753},
	{14.61464119, 5.85520077, 2.84484982, 1.61558151, 0.95350921, 0.59516323, 0.36617002, 0.19894916, 0.09824532, 0.02916753},
	{14.61464119, 5.85520077, 2.84484982, 1.67050016, 1.08895338, 0.74807048, 0.50118381, 0.32104823, 0.19894916, 0.09824532, 0.02916753},
	{14.61464119, 5.85520077, 2.95596409, 1.84880662, 1.24153244, 0.83188516, 0.59516323, 0.41087446, 0.27464288, 0.17026083, 0.09824532, 0.02916753},
	{14.61464119, 5.85520077, 3.07277966, 1.98035145, 1.36964464, 0.95350921, 0.69515091, 0.50118381, 0.36617002, 0.25053367, 0.17026083, 0.09824532, 0.02916753},
	{14.61464119, 6.77309084, 3.46139455, 2.36326075, 1.56271636, 1.08895338, 0.803307, 0.59516323, 0.45573691, 0.34370604, 0.25053367, 0.17026083, 0.09824532, 0.02916753},
	{14.61464119, 6.77309084, 3.46139455, 2.45070267, 1.61558151, 1.162866, 0.86115354, 0.64427125, 0.50118381, 0.38853383, 0.29807833, 0.22545385, 0.17026083, 0.09824532, 0.02916753},
	{14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.12350607, 1.51179266, 1.08895338, 0.83188516, 0.64427125, 0.50118381, 0.38853383, 0.29807833, 0.22545385, 0.17026083, 0.09824532, 0.02916753},
	{14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.12350607, 1.51179266, 1.08895338, 0.83188516, 0.64427125, 0.50118381, 0.41087446, 0.32104823, 0.25053367, 0.19894916, 0.13792117, 0.09824532, 0.02916753},
	{14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.12350607, 1.51179266, 1.08895338, 0.83188516, 0.64427125, 0.50118381, 0.41087446, 0.34370604, 0.27464288, 0.22545385, 0.17026083, 0.13792117, 0.09824532, 0.02916753},
	{14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.19988537, 1.61558151, 1.20157266, 0.92192322, 0.72133851, 0.57119018, 0.45573691, 0.36617002, 0.29807833, 0.25053367, 0.19894916, 0.17026083, 0.13792117, 0.09824532, 0.02916753},
	{14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.19988537, 1.61558151, 1.24153244, 0.95350921, 0.74807048, 0.59516323, 0.4783645, 0.38853383, 0.32104823, 0.27464288, 0.22545385, 0.19894916, 0.17026083, 0.13792117, 0.09824532, 0.02916753},
	{14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.19988537, 1.61558151, 1.24153244, 0.95350921, 0.74807048, 0.59516323, 0.50118381, 0.41087446, 0.34370604, 0.29807833, 0.25053367, 0.22545385, 0.19894916, 0.17026083, 0.13792117, 0.09824532, 0.02916753},
}

// AlignYourSteps is the schedule of that name for Stable Diffusion 1.x. It
// begins at 14.6, whatever the process.
func AlignYourSteps(_ *Process, n int) (Sigmas, error) { return stretch(aysSD1, n) }

// AlignYourStepsXL is [AlignYourSteps] for SDXL.
func AlignYourStepsXL(_ *Process, n int) (Sigmas, error) { return stretch(aysSDXL, n) }

// AlignYourStepsVideo is [AlignYourSteps] for Stable Video Diffusion. It begins
// at 700.
func AlignYourStepsVideo(_ *Process, n int) (Sigmas, error) { return stretch(aysSVD, n) }

// AlignYourStepsClosed is [AlignYourSteps] as AUTOMATIC1111 stretches it: the
// last step goes from the lowest noise level to 0.
func AlignYourStepsClosed(_ *Process, n int) (Sigmas, error) { return closed(aysSD1Rounded, n) }

// AlignYourStepsXLClosed is [AlignYourStepsClosed] for SDXL.
func AlignYourStepsXLClosed(_ *Process, n int) (Sigmas, error) { return closed(aysSDXLRounded, n) }

// GITS has noise levels that were searched for Stable Diffusion 1.5, for up to
// 20 steps; for more the last list is stretched. It begins at 14.6, whatever the
// process.
func GITS(_ *Process, n int) (Sigmas, error) {
	i := min(max(n-2, 0), len(gits)-1)
	return stretch(gits[i], n)
}

// FromSigmas makes a schedule of noise levels of the caller's own: at least two
// that fall; the last of them becomes 0 if it is not. For another number of
// steps than the list has, their logarithms are interpolated.
func FromSigmas(levels Sigmas) (ScheduleFunc, error) {
	if err := levels.Check(); err != nil {
		return nil, err
	}
	levels = append(Sigmas(nil), levels...)
	if last := len(levels) - 1; levels[last] == 0 {
		levels[last] = levels[last-1] / 10 // has a logarithm, and is never used as it is
	}
	return func(_ *Process, n int) (Sigmas, error) { return stretch(levels, n) }, nil
}

// closed interpolates n noise levels, in their logarithms, from the first to the
// last of a list, and appends 0.
func closed(list []float64, n int) (Sigmas, error) {
	last := len(list) - 1
	return build(n, func(i int) float64 { return between(list, fraction(i, n)*float64(last)) })
}

// between interpolates the logarithms of a list at a fractional index.
func between(list []float64, at float64) float64 {
	k, f := math.Modf(at)
	next := list[min(int(k)+1, len(list)-1)]
	return math.Exp((1-f)*math.Log(list[int(k)]) + f*math.Log(next))
}

// stretch interpolates the noise levels of a list, in their logarithms, for
// another number of steps than its len(list)-1.
func stretch(list []float64, n int) (Sigmas, error) {
	last := len(list) - 1
	return build(n, func(i int) float64 {
		if n == last {
			return list[i]
		}
		return between(list, float64(i)*float64(last)/float64(n))
	})
}
