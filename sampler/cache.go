package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A StepCache is a way to leave out evaluations of the model whose answers can be told
// from earlier ones, as the registry has it ([StepCaches]). It sees the net's inputs and
// outputs alone, so it works with every net, except where Inner says otherwise.
type StepCache struct {
	Name        string
	Aliases     []string
	Description string // one line
	Parameters  []Parameter
	// Inner is whether it sees the network's blocks, too. Whoever runs the network leaves
	// out what it says; guidance refuses it.
	Inner bool

	rule func(parameters map[string]float64) cacheRule
}

// Caching is a step cache with its numbers. [StepCache.With] makes it. The zero value
// leaves out nothing.
type Caching struct {
	Cache      StepCache
	Parameters map[string]float64 // a value for each of Cache.Parameters
}

// cacheRule decides which evaluations of one picture are left out, and tells their
// answers. Its slices are of what the net sees and predicts, not of clean samples.
type cacheRule interface {
	// skips reports whether the evaluation of an input may be left out. last is what was
	// kept of the first answer that is asked for. It is called for each evaluation that
	// may be; of the others, forced is.
	skips(in []float32, last *kept) bool
	forced(in []float32)
	// keep keeps an answer that was computed. since is the number of evaluations from
	// that of last to this one; 0 if last has none. first says that it is the first of
	// those that are asked for.
	keep(last *kept, in, out []float32, since int, first bool)
	// predict writes the answer of an evaluation that is left out.
	predict(dst []float32, last *kept, in []float32, since int)
}

// kept is what a cache keeps of one of the model's answers.
type kept struct {
	at      int         // the evaluation that it is of, counted from 1; 0: there is none
	in, out []float32   // what the net saw and predicted
	factors [][]float32 // finite differences of out, from the first order on
}

// StepCaches lists the step caches.
func StepCaches() []StepCache {
	all := []StepCache{
		{
			Name: "easy", Aliases: []string{"easycache"},
			Description: "EasyCache (Zhou et al. 2025): reuses the last difference of the net's output and input while the change that is expected of the output is small",
			Parameters: []Parameter{{Name: "threshold", Default: 0.05, Max: 10,
				Help: "sum of the relative changes expected since the last evaluation at which the next one is made; 0 leaves out none"}},
			rule: newEasyCache,
		},
		{
			Name: "taylor", Aliases: []string{"taylorseer"},
			Description: "TaylorSeer (Liu et al. 2025): extrapolates the net's output from finite differences",
			Parameters: []Parameter{
				{Name: "every", Default: 2, Min: 1, Max: maxEvery, Integer: true, Help: "evaluations from one that is made to the next; 1 leaves out none"},
				{Name: "order", Default: 1, Max: 2, Integer: true, Help: "highest order of the differences; 0 repeats the last output"},
			},
			rule: newTaylorSeer,
		},
		{
			Name: "first_block", Aliases: []string{"fbcache", "FirstBlockCache"}, Inner: true,
			Description: "first-block cache (ParaAttention, after TeaCache, Liu et al. 2024), of UNets: reuses what the other blocks add while what the first one adds changes little",
			Parameters: []Parameter{{Name: "threshold", Default: 0.1, Max: 10,
				Help: "relative change of what the first block adds, since the last evaluation in full, below which the others are left out; 0 leaves out none"}},
		},
	}
	for i := range all {
		all[i].Parameters = append(all[i].Parameters,
			Parameter{Name: "start", Default: 0.15, Max: 1, Help: "fraction of the steps after which evaluations may be left out; in the first step none is"},
			Parameter{Name: "stop", Default: 1, Max: 1, Help: "fraction of the steps after which none is; in the last step none is"})
	}
	return all
}

func (c StepCache) names() []string { return append([]string{c.Name}, c.Aliases...) }

// LookupStepCache finds a step cache by name, as [Lookup] finds a sampler. Its error lists
// the names that there are.
func LookupStepCache(name string) (StepCache, error) {
	c, err := find("step cache", name, StepCaches(), StepCache.names)
	if unknown := (*UnknownError)(nil); errors.As(err, &unknown) {
		for _, c := range StepCaches() {
			unknown.Names = append(unknown.Names, c.Name)
		}
	}
	return c, err
}

// With returns the cache with parameters by name; those that are not given have their
// defaults. The error joins a [*ParameterError] for each problem.
func (c StepCache) With(parameters map[string]float64) (Caching, error) {
	all, err := fill(c.Name, c.Parameters, parameters)
	if err == nil {
		err = ordered(c.Name, all, "start", "stop")
	}
	if err != nil {
		return Caching{}, err
	}
	return Caching{Cache: c, Parameters: all}, nil
}

// cached is a model of one run with a step cache.
type cached struct {
	model    BatchDenoiser
	p        *Preconditioning
	changed  func() bool // nil: never
	lo, hi   float64     // evaluations may be left out at noise levels in (lo, hi]
	count    int         // evaluations, with those that are left out
	pictures []pictureCache
	newRule  func() cacheRule

	in     []float32 // what the net sees
	memory []float32
}

// pictureCache is the cache of one picture of a sample.
type pictureCache struct {
	rule    cacheRule
	answers []kept
	last    int // the last evaluation that was made, 0 before the first
	skipped bool
}

// denoiser puts the cache before the answers of a model in one run.
func (c Caching) denoiser(m GuidedModel) (BatchDenoiser, error) {
	if _, err := c.Cache.With(c.Parameters); err != nil {
		return nil, err
	}
	if c.Cache.Inner {
		return nil, fmt.Errorf("step cache %s sees the network's blocks, which guidance does not", c.Cache.Name)
	}
	if c.Cache.rule == nil || len(c.Parameters) != len(c.Cache.Parameters) {
		return nil, errors.New("a step cache must be made by StepCache.With")
	}
	n := len(m.Sigmas) - 1
	if n < 1 {
		return nil, errors.New("a step cache must know the noise levels of the run")
	}
	from, to := c.steps(n)
	r := &cached{
		model: m.Denoise, p: m.Preconditioning, changed: m.Changed,
		hi: m.Sigmas[from] * (1 + rounding), lo: m.Sigmas[to] * (1 + rounding),
		pictures: make([]pictureCache, max(m.Images, 1)), newRule: func() cacheRule { return c.Cache.rule(c.Parameters) },
	}
	return r.answer, nil
}

// steps is the range of the steps of n, counted from 0, in which evaluations may be left
// out: [from, to). The first and the last step are not in it.
func (c Caching) steps(n int) (from, to int) {
	from, to = int(c.Parameters["start"]*float64(n)), int(c.Parameters["stop"]*float64(n))
	return min(max(from, 1), n), min(to, n-1)
}

// Allows reports whether, after so many of n steps, evaluations may be left out.
func (c Caching) Allows(made, n int) bool {
	from, to := c.steps(n)
	return from <= made && made < to
}

// forget begins anew.
func (c *cached) forget(answers int) {
	for i := range c.pictures {
		c.pictures[i] = pictureCache{rule: c.newRule(), answers: make([]kept, answers)}
	}
}

// answer is a [BatchDenoiser].
func (c *cached) answer(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
	if c.changed != nil && c.changed() || len(c.pictures[0].answers) != len(dst) || len(c.in) != len(x) {
		c.forget(len(dst))
	}
	c.count++
	skip, out, gain := c.p.Scalings(sigma)
	c.in = scaleInto(c.in, x, gain)
	free := c.lo < sigma && sigma <= c.hi
	all := true
	for i := range c.pictures {
		p := &c.pictures[i]
		p.decide(dst, part(c.in, i, len(c.pictures)), free)
		all = all && p.skipped
	}
	if !all {
		if err := c.model(ctx, dst, x, sigma); err != nil {
			return err
		}
	}
	// Each picture has what it has alone, even if the model has answered because of others.
	c.memory = grow(c.memory, len(x)/len(c.pictures))
	for i := range c.pictures {
		p, n := &c.pictures[i], len(c.pictures)
		x, in, first := part(x, i, n), part(c.in, i, n), true
		for k, d := range dst {
			if d == nil {
				continue
			}
			d, last := part(d, i, n), &p.answers[k]
			if p.skipped {
				p.rule.predict(c.memory, last, in, c.count-last.at)
				sum2(d, out, c.memory, skip, x)
				continue
			}
			sum2(c.memory, 1/out, d, -skip/out, x)
			since := 0
			if last.at > 0 {
				since = c.count - last.at
			}
			p.rule.keep(last, in, c.memory, since, first && last.at == p.last)
			last.at, first = c.count, false
		}
		if !p.skipped {
			p.last = c.count
		}
	}
	return nil
}

// decide decides whether an evaluation is left out. Answers that are combined are of one
// evaluation: those that are asked for must be of the last one that was made.
func (p *pictureCache) decide(dst [][]float32, in []float32, free bool) {
	p.skipped = free
	first := -1
	for k, d := range dst {
		if d != nil && first < 0 {
			first = k
		}
		p.skipped = p.skipped && (d == nil || p.last > 0 && p.answers[k].at == p.last)
	}
	switch {
	case p.skipped && first >= 0:
		p.skipped = p.rule.skips(in, &p.answers[first])
	default:
		p.rule.forced(in)
	}
}

// easyCache decides by the change that is expected of the first answer, and gives every
// answer its own difference (Zhou et al. 2025, arXiv:2507.02860; the authors' code decides
// for the conditional and the unconditional prediction at once).
type easyCache struct {
	threshold float64
	rate      float64   // change of the output by that of the input, between the last two evaluations that were made
	sum       float64   // expected since the last one
	before    []float32 // the input of the last evaluation, which may have been left out
}

func newEasyCache(p map[string]float64) cacheRule {
	return &easyCache{threshold: p["threshold"], rate: math.NaN()}
}

func (e *easyCache) skips(in []float32, last *kept) bool {
	e.sum += e.rate * meanChange(in, e.before) / meanMagnitude(last.out)
	e.before = append(e.before[:0], in...)
	if e.sum < e.threshold { // never while the rate is unknown, which is not a number
		return true
	}
	e.sum = 0
	return false
}

func (e *easyCache) forced(in []float32) {
	e.sum = 0
	e.before = append(e.before[:0], in...)
}

func (e *easyCache) keep(last *kept, in, out []float32, since int, first bool) {
	if first && since > 0 {
		e.rate = meanChange(out, last.out) / meanChange(in, last.in)
	}
	last.in, last.out = append(last.in[:0], in...), append(last.out[:0], out...)
}

func (e *easyCache) predict(dst []float32, last *kept, in []float32, _ int) {
	sum3(dst, 1, in, 1, last.out, -1, last.in)
}

// taylorSeer extrapolates each answer by a Taylor series of the number of evaluations,
// whose derivatives are finite differences of the outputs that were computed (Liu et al.
// 2025, arXiv:2503.06923, equations 2 to 4), here of the whole net's.
type taylorSeer struct {
	every, order int
	left         int // evaluations that may be left out until the next one
}

func newTaylorSeer(p map[string]float64) cacheRule {
	return &taylorSeer{every: int(p["every"]), order: int(p["order"])}
}

func (t *taylorSeer) skips([]float32, *kept) bool {
	if t.left == 0 {
		t.left = t.every - 1
		return false
	}
	t.left--
	return true
}

func (t *taylorSeer) forced([]float32) { t.left = t.every - 1 }

func (t *taylorSeer) keep(last *kept, _, out []float32, since int, _ bool) {
	next := [][]float32{slices.Clone(out)}
	for order := 1; order <= t.order && since > 0 && order <= len(last.factors); order++ {
		d := make([]float32, len(out))
		k := 1 / float64(since)
		sum2(d, k, next[order-1], -k, last.factors[order-1])
		next = append(next, d)
	}
	last.factors = next
}

func (t *taylorSeer) predict(dst []float32, last *kept, _ []float32, since int) {
	clear(dst)
	k := 1.0
	for order, f := range last.factors {
		if order > 0 {
			k *= float64(since) / float64(order)
		}
		add(dst, k, f)
	}
}

// meanChange is the mean of |x - y|.
func meanChange(x, y []float32) (sum float64) {
	y = y[:len(x)]
	for i, v := range x {
		sum += math.Abs(float64(v) - float64(y[i]))
	}
	return sum / float64(len(x))
}

// meanMagnitude is the mean of |x|.
func meanMagnitude(x []float32) (sum float64) {
	for _, v := range x {
		sum += math.Abs(float64(v))
	}
	return sum / float64(len(x))
}
