// Package loss has what training compares a network with: noisy samples at random times
// with their targets, the weights of levels of noise, and losses with their gradients.
package loss

import (
	"fmt"
	"math"
)

// The gradients of losses are computed with the network, in the same run: what they are
// made of is written before it, by [Factors] and [Labels].

// Squared is the mean of the squared differences between predictions and targets, each
// sample's n elements weighted by its weight, and averaged over the samples. With a mask,
// nil without, every element has a weight of its own, 0 to 1, as well: what is masked
// counts less. The mean is over all elements, masked or not.
func Squared(prediction, target, mask []float32, weights []float64) (float64, error) {
	if err := lengths(prediction, mask, len(weights)); err != nil {
		return 0, err
	}
	if len(target) != len(prediction) {
		return 0, fmt.Errorf("targets must have %d elements, got %d", len(prediction), len(target))
	}
	n := len(prediction) / len(weights)
	total := 0.0
	for i, w := range weights {
		sum := 0.0
		for k := i * n; k < (i+1)*n; k++ {
			d, m := float64(prediction[k])-float64(target[k]), 1.0
			if mask != nil {
				m = float64(mask[k])
			}
			sum += m * d * d
		}
		total += w * sum / float64(n)
	}
	return total / float64(len(weights)), nil
}

// Factors writes the factors of [Squared]'s gradient by the predictions, which is
// factors·(prediction - target).
func Factors(factors, mask []float32, weights []float64) error {
	if err := lengths(factors, mask, len(weights)); err != nil {
		return err
	}
	n := len(factors) / len(weights)
	for i, w := range weights {
		factor := 2 * w / float64(len(factors))
		for k := i * n; k < (i+1)*n; k++ {
			m := 1.0
			if mask != nil {
				m = float64(mask[k])
			}
			factors[k] = float32(factor * m)
		}
	}
	return nil
}

func lengths(prediction, mask []float32, samples int) error {
	switch {
	case samples == 0 || len(prediction) == 0 || len(prediction)%samples != 0:
		return fmt.Errorf("%d predictions do not divide into %d samples", len(prediction), samples)
	case mask != nil && len(mask) != len(prediction):
		return fmt.Errorf("the mask must have %d elements, got %d", len(prediction), len(mask))
	}
	return nil
}

// Labels writes the probabilities that classes should have, [samples, classes], and the
// factors of [CrossEntropy]'s gradient by the logits, which is
// factors·(softmax(logits) - probabilities).
func Labels(probabilities, factors []float32, labels []int, smoothing float64) error {
	classes, err := classesOf(probabilities, labels)
	if err != nil {
		return err
	}
	if len(factors) != len(probabilities) {
		return fmt.Errorf("factors must be %d, got %d", len(probabilities), len(factors))
	}
	for i, label := range labels {
		for k := range classes {
			probabilities[i*classes+k] = float32(smoothing / float64(classes))
			factors[i*classes+k] = float32(1 / float64(len(labels)))
		}
		probabilities[i*classes+label] = float32(smoothing/float64(classes) + 1 - smoothing)
	}
	return nil
}

// classesOf is the number of classes of logits, [samples, classes].
func classesOf(logits []float32, labels []int) (int, error) {
	if len(labels) == 0 || len(logits)%len(labels) != 0 {
		return 0, fmt.Errorf("%d logits do not divide into %d samples", len(logits), len(labels))
	}
	classes := len(logits) / len(labels)
	for _, label := range labels {
		if label < 0 || label >= classes {
			return 0, fmt.Errorf("labels must be 0 to %d, got %d", classes-1, label)
		}
	}
	return classes, nil
}

// CrossEntropy is the mean of -log softmax(logits)[label] of logits [samples, classes];
// right is the number of samples whose largest logit is the label's. smoothing, 0 to below
// 1, is the share of each label that is spread evenly over all classes (Szegedy et al. 2016,
// arXiv:1512.00567).
func CrossEntropy(logits []float32, labels []int, smoothing float64) (value float64, right int, err error) {
	classes, err := classesOf(logits, labels)
	if err != nil {
		return 0, 0, err
	}
	for i, label := range labels {
		row := logits[i*classes : (i+1)*classes]
		best, most := 0, math.Inf(-1)
		for k, v := range row {
			if float64(v) > most {
				best, most = k, float64(v)
			}
		}
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v) - most)
		}
		log := most + math.Log(sum)
		for k, v := range row {
			target := smoothing / float64(classes)
			if k == label {
				target += 1 - smoothing
			}
			value += target * (log - float64(v))
		}
		if best == label {
			right++
		}
	}
	return value / float64(len(labels)), right, nil
}
