// Package loss has what training compares a network with: noisy samples at random times
// with their targets, the weights of levels of noise, and losses with their gradients.
package loss

import (
	"fmt"
	"math"
)

// MSE is the mean of the squared differences between predictions and targets, each
// sample's n elements weighted by its weight, and averaged over the samples. It writes the
// gradient by the predictions to gradient.
func MSE(gradient, prediction, target []float32, weights []float64) (float64, error) {
	if err := lengths(gradient, prediction, target, len(weights)); err != nil {
		return 0, err
	}
	n := len(prediction) / len(weights)
	total := 0.0
	for i, w := range weights {
		sum, factor := 0.0, 2*w/float64(len(prediction))
		for k := i * n; k < (i+1)*n; k++ {
			d := float64(prediction[k]) - float64(target[k])
			sum += d * d
			gradient[k] = float32(factor * d)
		}
		total += w * sum / float64(n)
	}
	return total / float64(len(weights)), nil
}

// Masked is MSE where every element has a weight of its own, 0 to 1, as well: what is
// masked counts less. The mean is over all elements, masked or not.
func Masked(gradient, prediction, target, mask []float32, weights []float64) (float64, error) {
	if mask == nil {
		return MSE(gradient, prediction, target, weights)
	}
	if err := lengths(gradient, prediction, target, len(weights)); err != nil {
		return 0, err
	}
	if len(mask) != len(prediction) {
		return 0, fmt.Errorf("the mask must have %d elements, got %d", len(prediction), len(mask))
	}
	n := len(prediction) / len(weights)
	total := 0.0
	for i, w := range weights {
		sum, factor := 0.0, 2*w/float64(len(prediction))
		for k := i * n; k < (i+1)*n; k++ {
			d, m := float64(prediction[k])-float64(target[k]), float64(mask[k])
			sum += m * d * d
			gradient[k] = float32(factor * m * d)
		}
		total += w * sum / float64(n)
	}
	return total / float64(len(weights)), nil
}

func lengths(gradient, prediction, target []float32, samples int) error {
	switch {
	case samples == 0 || len(prediction) == 0 || len(prediction)%samples != 0:
		return fmt.Errorf("%d predictions do not divide into %d samples", len(prediction), samples)
	case len(target) != len(prediction) || len(gradient) != len(prediction):
		return fmt.Errorf("targets and gradients must have %d elements, got %d and %d", len(prediction), len(target), len(gradient))
	}
	return nil
}

// CrossEntropy is the mean of -log softmax(logits)[label], with the gradient by the
// logits, [samples, classes]; right is the number of samples whose largest logit is the
// label's. smoothing, 0 to below 1, is the share of each label that is spread evenly over
// all classes (Szegedy et al. 2016, arXiv:1512.00567).
func CrossEntropy(gradient, logits []float32, labels []int, smoothing float64) (value float64, right int, err error) {
	if len(labels) == 0 || len(logits)%len(labels) != 0 || len(gradient) != len(logits) {
		return 0, 0, fmt.Errorf("%d logits and %d gradients do not divide into %d samples", len(logits), len(gradient), len(labels))
	}
	classes := len(logits) / len(labels)
	for i, label := range labels {
		if label < 0 || label >= classes {
			return 0, 0, fmt.Errorf("labels must be 0 to %d, got %d", classes-1, label)
		}
		row, g := logits[i*classes:(i+1)*classes], gradient[i*classes:(i+1)*classes]
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
			g[k] = float32((math.Exp(float64(v)-log) - target) / float64(len(labels)))
		}
		if best == label {
			right++
		}
	}
	return value / float64(len(labels)), right, nil
}
