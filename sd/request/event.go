package request

import (
	"image"
	"time"
)

// Stage is a phase of a request's work.
type Stage string

// The stages, in order.
const (
	StageUpload  Stage = "upload"  // weights were uploaded to a GPU: Index of Of MiB
	StageText    Stage = "text"    // prompts are encoded
	StageSample  Stage = "sample"  // one denoising step is done
	StageDecode  Stage = "decode"  // a tile of a picture is decoded
	StageUpscale Stage = "upscale" // a tile of a picture is upscaled
	StageDraft   Stage = "draft"   // a picture before one of the request's Hires passes or Stages
	StageImage   Stage = "image"   // a picture is finished
)

// Event reports progress: step Index (from 1) of Of of a stage is done, Elapsed after
// the stage began.
type Event struct {
	Stage   Stage
	Picture int // which picture of the request, from 0
	Pass    int // 0 for the first pass, then the number of the Hires pass or of the stage, from 1
	Index   int
	Of      int
	Elapsed time.Duration
	Preview *image.NRGBA // with StageSample after each Request.PreviewEvery steps
	Image   *Image       // the picture, with StageImage and StageDraft
}

// Image is a generated picture, video or sound with all that is needed to make it
// again.
type Image struct {
	Image  *image.NRGBA // the picture; a video's first frame; nil of sound
	Video  *Video       // nil of pictures and sound
	Sound  *Sound       // nil of pictures and silent videos
	Params Params
}

// Video is the frames of a generated video.
type Video struct {
	Frames []*image.NRGBA // of one size, at least one
	Rate   float64        // frames a second
}

// Sound is the samples of generated sound.
type Sound struct {
	Channels [][]float32 // -1 to 1, all of one length
	Rate     int         // samples a second
}

// Result is what a request gave. When Generate ends early its pictures are
// those that were finished.
type Result struct {
	Images []Image
	Text   time.Duration // time spent encoding prompts,
	Encode time.Duration // encoding and enlarging pictures,
	Sample time.Duration // denoising, and
	Decode time.Duration // decoding

	Stages []time.Duration // spent in each of the request's Stages, in all of the above
}
