package main

import (
	"image"
	"sync"
	"testing"
)

// Two goroutines at a time, for the race detector.
func TestDraw(t *testing.T) {
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			picture, err := draw("a leaf")
			if err != nil {
				t.Error(err)
			} else if size := picture.Bounds().Size(); size != image.Pt(64, 32) {
				t.Errorf("must be a picture of 64x32, got %v", size)
			}
		})
	}
	group.Wait()
}
