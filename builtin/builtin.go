// Package builtin has two small models. In a program that imports it, [sd.Open] with an
// empty path opens the first, which draws from text, and with
// [sd.BuiltinPrefix]+[Emoji] the second, which draws by class.
//
//	import _ "github.com/sdgo/sdgo/builtin"
//
// The first draws 128x128 pictures of more than 300 things, by name, on a
// background whose colour the prompt names: "a red apple on a yellow
// background". It is a Stable Diffusion 1.x network in every respect but its
// size, trained on Google's Noto emoji; training/README.md is its model card.
//
// The second draws 32x32 pixels of 24 classes, without an autoencoder: a DDPM with the
// layers of improved diffusion, trained on emoji of five free sets; its card is
// training/pixel/README.md. emoji-classifier.safetensors tells the same classes of noisy
// pictures apart; it is not part of programs.
package builtin

import (
	_ "embed" // the models

	"github.com/sdgo/sdgo/sd"
)

// The models' names in generation parameters: of the one that draws from text, and of
// the one that draws by class.
const (
	Name  = "sdgo-noto"
	Emoji = "sdgo-emoji"
)

//go:embed noto.gguf
var noto []byte

//go:embed emoji.safetensors
var emoji []byte

func init() {
	sd.RegisterBuiltin(Name, noto)
	sd.RegisterBuiltin(Emoji, emoji)
}
