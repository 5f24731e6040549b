package sd

import (
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
)

// What a request is and what comes of it is plain data, in package request.
type (
	Request          = request.Request
	HiresPass        = request.HiresPass
	Interpolation    = request.Interpolation
	RNG              = request.RNG
	MaskFill         = request.MaskFill
	RequestAdapter   = request.Adapter
	RequestControl   = request.Control
	ControlMode      = request.ControlMode
	Guide            = request.Guide
	GuideKind        = request.GuideKind
	Edit             = request.Edit
	RequestDirection = request.Direction
	ControlType      = request.ControlType
	Event            = request.Event
	Stage            = request.Stage
	Image            = request.Image
	Video            = request.Video
	Sound            = request.Sound
	Params           = request.Params
	Result           = request.Result
	RequestError     = request.Error
	Problem          = request.Problem
	MemoryError      = engine.MemoryError
	NotFiniteError   = engine.NotFiniteError
)

// Generators of noise.
const (
	TorchRNG  = request.TorchRNG
	PhiloxRNG = request.PhiloxRNG
)

// What the masked part of a picture begins with, [Request.MaskFill].
const (
	MaskOriginal = request.MaskOriginal
	MaskFilled   = request.MaskFilled
	MaskNoise    = request.MaskNoise
	MaskNothing  = request.MaskNothing
)

// Control modes, [RequestControl.Mode], and kinds of pictures, [RequestControl.Type].
const (
	ControlBalanced = request.ControlBalanced
	ControlPrompt   = request.ControlPrompt
	ControlNetwork  = request.ControlNetwork
	ControlGuess    = request.ControlGuess

	ControlPose         = request.ControlPose
	ControlDepth        = request.ControlDepth
	ControlSoftEdge     = request.ControlSoftEdge
	ControlCanny        = request.ControlCanny
	ControlNormal       = request.ControlNormal
	ControlSegmentation = request.ControlSegmentation
	ControlTile         = request.ControlTile
	ControlInpaint      = request.ControlInpaint
)

// What a [Guide] asks for.
const (
	GuideColour     = request.GuideColour
	GuideLowres     = request.GuideLowres
	GuideMask       = request.GuideMask
	GuideClassifier = request.GuideClassifier
)

// RandomSeed as [Request.Seed] draws a seed, which the result reports.
const RandomSeed = request.RandomSeed

// Limits of a request.
const (
	MaxSteps = request.MaxSteps
	MaxSide  = request.MaxSide // pixels
	MaxCount = request.MaxCount
	MaxHires = request.MaxHires

	MaxAdapters        = request.MaxAdapters
	MaxAdapterStrength = request.MaxAdapterStrength

	Reference        = request.Reference // the name of a control that is a picture to look at
	MaxControls      = request.MaxControls
	MaxControlWeight = request.MaxControlWeight

	MaxEdits      = request.MaxEdits
	MaxEditScale  = request.MaxEditScale
	MaxEditWeight = request.MaxEditWeight

	MaxGuides          = request.MaxGuides
	MaxClassifierScale = request.MaxClassifierScale
)

// The stages of an [Event], in their order.
const (
	StageUpload  = request.StageUpload
	StageText    = request.StageText
	StageSample  = request.StageSample
	StageDecode  = request.StageDecode
	StageUpscale = request.StageUpscale
	StageDraft   = request.StageDraft
	StageImage   = request.StageImage
)

// ErrClosed is what methods of a closed [Model], [ESRGAN] or [TAESD] return, and
// requests that name one.
var ErrClosed = engine.ErrClosed

// ErrBusy is what [Model.Submit] returns when as many requests wait as
// [Options.MaxWaiting] lets.
var ErrBusy = pipeline.ErrBusy

// ErrNoEncoder is what a request that begins with a picture gets from a model
// whose file has only the autoencoder's decoder.
var ErrNoEncoder = pipeline.ErrNoEncoder

// Float is for the optional numbers of a request: Guidance: sd.Float(7.5).
func Float(v float64) *float64 { return &v }

// Int is for the optional whole numbers of a request.
func Int(v int) *int { return &v }
