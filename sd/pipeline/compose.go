package pipeline

import (
	"context"
	"math"
	"slices"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
)

// Composable diffusion, AUTOMATIC1111's AND: what guidance takes for the answer to the
// prompt is put together of the answers to several (Liu et al. 2022, arXiv:2206.01714):
//
//	cond = uncond + Σ weight_i·(cond_i - uncond)
//
// With classifier-free guidance that is [sampler]'s guidance "composable"; every other
// kind is of the same sum. It is linear, so that it is one of what the network predicts.

func weightsOf(parts []prompt.Part) (all []float64) {
	for _, p := range parts {
		all = append(all, p.Weight)
	}
	return all
}

// withoutCondition is the share of the answer without a condition.
func withoutCondition(weights []float64) float64 {
	share := 1.0
	for _, w := range weights {
		share -= w
	}
	if math.Abs(share) < 1e-9 { // such as 1 - 0.7 - 0.3
		return 0
	}
	return share
}

// alike gives conditions the same shapes: as in AUTOMATIC1111, those with fewer rows end
// in their last one again and again.
func alike(all []Weighted) {
	longest := make([]int, len(all[0].Condition.Inputs))
	for _, w := range all {
		for i, in := range w.Condition.Inputs {
			longest[i] = max(longest[i], in.Shape[0])
		}
	}
	for k, w := range all {
		for i, in := range w.Condition.Inputs {
			if len(in.Shape) < 2 || in.Shape[0] == longest[i] || in.Shape[0] == 0 {
				continue
			}
			rows, row := in.Shape[0], len(in.Data)/in.Shape[0]
			shape := slices.Clone(in.Shape)
			shape[0] = longest[i]
			data := append(slices.Clip(in.Data), slices.Repeat(in.Data[(rows-1)*row:], longest[i]-rows)...)
			if all[k].Condition == w.Condition { // others have it, too
				all[k].Condition = &Condition{slices.Clone(w.Condition.Inputs)}
			}
			all[k].Condition.Inputs[i] = engine.Named{Name: in.Name, Shape: shape, Data: data}
		}
	}
}

// betweenParts are the conditions between two prompts, one of which AND composes: one
// after the other, with weights in between. One that the other prompt does not have fades
// into the empty text.
func betweenParts(a, b *Condition, as, bs []Weighted, empty Condition, t float32) (all []Weighted) {
	if as == nil {
		as = []Weighted{{a, 1}}
	}
	if bs == nil {
		bs = []Weighted{{b, 1}}
	}
	for i := range max(len(as), len(bs)) {
		from, to := Weighted{&empty, 0}, Weighted{&empty, 0}
		if i < len(as) {
			from = as[i]
		}
		if i < len(bs) {
			to = bs[i]
		}
		weight := (1-float64(t))*from.Weight + float64(t)*to.Weight
		if i > 0 && weight == 0 {
			continue
		}
		mixed := mix(*from.Condition, *to.Condition, empty, t)
		all = append(all, Weighted{&mixed, weight})
	}
	alike(all)
	return all
}

// composedAnswers is how many answers of the network those that guidance needs are made
// of.
func composedAnswers(needs []sampler.Answer, and []Weighted) (n int) {
	if len(and) == 0 {
		return 0
	}
	for _, a := range needs {
		if a == sampler.AnswerCond || a == sampler.AnswerPerturbed {
			n += len(and) - 1
		}
		n++
	}
	return n + 1 // without a condition
}

// answersOf are what guidance sees of a pipeline's network in one phase.
func answersOf(p *Pipeline, run evaluator, shape []int, cache innerCache, variance []float32, with beside, g sampler.Guidance, c Conditions, s start) sampler.BatchModel {
	all := ask(g, c, s)
	for _, edit := range c.Edits {
		all = append(all, answer{condition: condition(edit, s, true), output: "out"})
	}
	if len(c.And) == 0 {
		return p.model(run, shape, cache, variance, with, all...)
	}
	m := &composed{first: make([]int, len(all)), sums: make([]bool, len(all)), shares: []float64{1}, without: -1}
	for i := range all {
		a := sampler.Answer("edit")
		if i < len(g.Guider.Answers) {
			a = g.Guider.Answers[i]
		}
		m.first[i] = len(m.asked)
		switch m.sums[i] = a == sampler.AnswerCond || a == sampler.AnswerPerturbed; {
		case m.sums[i]:
			for _, w := range c.And {
				m.asked = append(m.asked, answer{condition: condition(w.Condition, s, true), output: all[i].output, guides: all[i].guides})
			}
			continue
		case a == sampler.AnswerUncond:
			m.without = len(m.asked)
		}
		m.asked = append(m.asked, all[i])
	}
	for _, w := range c.And {
		m.shares = append(m.shares, w.Weight)
	}
	m.shares[0] = withoutCondition(m.shares[1:])
	if m.without < 0 {
		m.without = len(m.asked)
		m.asked = append(m.asked, answer{condition: condition(c.Uncond, s, true), output: "out", uncond: true})
	}
	m.memory = make([][]float32, len(m.asked))
	m.model = p.model(run, shape, cache, variance, with, m.asked...)
	return m.answer
}

// composed makes answers to a prompt that AND composes.
type composed struct {
	model   sampler.BatchModel
	asked   []answer    // of the network
	first   []int       // for each of guidance's answers, which of asked it is, or the first of its sum
	sums    []bool      // which of guidance's answers are sums
	shares  []float64   // of the answer without a condition, and of the others
	without int         // which of asked has no condition
	memory  [][]float32 // of asked
}

func (m *composed) answer(ctx context.Context, dst [][]float32, x []float32, t float64) error {
	want := make([][]float32, len(m.asked))
	hold := func(i int) {
		if len(m.memory[i]) < len(x) {
			m.memory[i] = make([]float32, len(x))
		}
		want[i] = m.memory[i][:len(x)]
	}
	for i, to := range dst {
		switch {
		case to != nil && !m.sums[i]:
			want[m.first[i]] = to
		case to != nil:
			for k := range m.shares[1:] {
				hold(m.first[i] + k)
			}
		}
	}
	if m.shares[0] != 0 && want[m.without] == nil {
		hold(m.without)
	}
	if err := m.model(ctx, want, x, t); err != nil {
		return err
	}
	for i, to := range dst {
		if to == nil || !m.sums[i] {
			continue
		}
		for j := range to {
			sum := 0.0
			if m.shares[0] != 0 {
				sum = m.shares[0] * float64(want[m.without][j])
			}
			for k, share := range m.shares[1:] {
				sum += share * float64(want[m.first[i]+k][j])
			}
			to[j] = float32(sum)
		}
	}
	return nil
}

// checkEditing refuses what models for editing pictures cannot do, as AUTOMATIC1111 does:
// they have two conditions of their own.
func checkEditing(q *request.Resolved, e *request.Error) {
	if parts, err := prompt.Compose(q.Prompt); err == nil && composes(parts) {
		e.Add("Prompt", "AND, and a weight of the whole prompt such as :%g at its end, do not go with a model for editing pictures", parts[len(parts)-1].Weight)
	}
}
