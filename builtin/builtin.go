// Package builtin has a small text-to-image model. In a program that imports it,
// [sd.Open] with an empty path opens that model.
//
//	import _ "github.com/sdgo/sdgo/builtin"
//
// The model draws 128x128 pictures of more than 300 things, by name, on a
// background whose colour the prompt names: "a red apple on a yellow
// background". It is a Stable Diffusion 1.x network in every respect but its
// size, trained on Google's Noto emoji; training/README.md is its model card.
package builtin

import (
	_ "embed" // the model

	"github.com/sdgo/sdgo/sd"
)

// Name is the model's name in generation parameters.
const Name = "sdgo-noto"

//go:embed noto.gguf
var model []byte

func init() { sd.RegisterBuiltin(Name, model) }
