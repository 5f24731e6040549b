package data

import (
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/train/random"
)

// Buckets are the sizes, in pixels, that pictures of different shapes are cut to: all whose
// sides are multiples of multiple from low to high, as wide as possible without more pixels
// than side x side (NovelAI 2022). With low and high of side there is the square alone.
func Buckets(side, multiple, low, high int) ([]image.Point, error) {
	if multiple < 1 || side < multiple || side%multiple != 0 || side > 1<<13 {
		return nil, fmt.Errorf("a side must be a multiple of %d, at most 8192, got %d", multiple, side)
	}
	if low > side || high < side || low < 1 {
		return nil, fmt.Errorf("the shortest and longest sides must enclose %d, got %d and %d", side, low, high)
	}
	var all []image.Point
	for h := (low + multiple - 1) / multiple * multiple; h <= high; h += multiple {
		w := min(side*side/h, high) / multiple * multiple
		// Of several heights with one width the largest has the most pixels.
		if w < low || (h+multiple <= high && min(side*side/(h+multiple), high)/multiple*multiple == w) {
			continue
		}
		all = append(all, image.Pt(w, h))
	}
	return all, nil
}

// Nearest is the bucket whose shape is nearest to that of a picture, by the logarithms of
// width/height.
func Nearest(buckets []image.Point, size image.Point) int {
	shape := func(p image.Point) float64 { return math.Log(float64(p.X) / float64(p.Y)) }
	best, least := 0, math.Inf(1)
	for i, b := range buckets {
		if d := math.Abs(shape(b) - shape(size)); d < least {
			best, least = i, d
		}
	}
	return best
}

// Order is the order in which items are drawn: in each epoch all items of each bucket in a
// random order, in batches of one size from one bucket, the batches in a random order. The
// last batch of a bucket is filled with its first items.
type Order struct {
	seed    uint64
	batch   int
	buckets [][]int // items
	perAll  int     // batches of an epoch

	epoch   uint64
	batches [][]int // of that epoch; nil at first
}

// NewOrder makes the order of items, of each of which bucket says where it belongs.
func NewOrder(seed uint64, batch int, bucket []int) (*Order, error) {
	if batch < 1 || len(bucket) == 0 {
		return nil, fmt.Errorf("a batch must have at least 1 item of at least 1, got %d of %d", batch, len(bucket))
	}
	o := &Order{seed: seed, batch: batch}
	for item, b := range bucket {
		for b >= len(o.buckets) {
			o.buckets = append(o.buckets, nil)
		}
		o.buckets[b] = append(o.buckets[b], item)
	}
	for _, items := range o.buckets {
		o.perAll += (len(items) + batch - 1) / batch
	}
	return o, nil
}

// Epoch is the number of batches in which all items are drawn once.
func (o *Order) Epoch() int { return o.perAll }

// Batch are the items of batch n, which counts from 0 over all epochs. It must not be
// called by two goroutines at once.
func (o *Order) Batch(n uint64) []int {
	epoch := n / uint64(o.perAll)
	if o.batches == nil || o.epoch != epoch {
		o.epoch, o.batches = epoch, o.shuffled(epoch)
	}
	return o.batches[n%uint64(o.perAll)]
}

// Streams of random numbers of an epoch.
const orderStream = 1

func (o *Order) shuffled(epoch uint64) [][]int {
	r := random.New(o.seed, epoch, orderStream)
	var all [][]int
	for _, items := range o.buckets {
		order := r.Perm(len(items))
		for at := 0; at < len(order); at += o.batch {
			batch := make([]int, o.batch)
			for i := range batch {
				batch[i] = items[order[(at+i)%len(order)]]
			}
			all = append(all, batch)
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}
