// Package prompt reads prompts in AUTOMATIC1111's grammar and lays them out for CLIP's text encoder.
//
//	(word)          attention × 1.1, and so on for each pair
//	[word]          attention ÷ 1.1
//	(word:1.3)      attention × 1.3; spaces around the number are allowed
//	\( \) \[ \] \\  the characters themselves
//	BREAK           the rest starts a new chunk
//	<kind:name:arg> an extra network, as in <lora:name:0.8>: removed from the text and returned
//	[a:b:0.4]       a, and b after 40 % of the steps; [a|b] alternates. See Schedule, which runs before Parse.
//	a AND b :0.7    two prompts, the second of weight 0.7. See Compose, which runs before Schedule.
//
// Unclosed brackets extend to the end; unmatched closing brackets are text. A prompt goes through Compose, Schedule, Parse (text to weighted
// segments), Chunks (segments to token ids, 75 at a time) and, after the text encoder, ApplyWeights. The reference is
// AUTOMATIC1111's stable-diffusion-webui 1.10 (modules prompt_parser, extra_networks, sd_hijack_clip and sd_emphasis);
// Options says where stable-diffusion.cpp differs.
package prompt

import "fmt"

// Limits. A weight of 1.1 to the power of 931 is beyond float32, so deeper brackets would mean nothing.
const (
	MaxLength = 1 << 20 // bytes of a prompt
	MaxDepth  = 256     // brackets open at the same time
)

// LimitError says that a prompt exceeds one of this package's limits.
type LimitError struct {
	What     string // "bytes", "nested brackets", "chunks of tokens", "steps", "bytes of scheduled text", "prompts joined by AND" or "vectors of one word"
	Got, Max int    // Got may be lower than the real number: counting stops beyond Max
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("prompt: %d %s; at most %d are supported", e.Got, e.What, e.Max)
}

// WeightError says that a weight is not a number, or that weights multiply to one that is too large.
type WeightError struct {
	Text   string // the weight as written, or the text that it applies to
	Reason string
}

func (e *WeightError) Error() string {
	return fmt.Sprintf("prompt: weight of %.40q: %s; a weight is written like (word:1.3)", e.Text, e.Reason)
}

// checkLength returns the error of a prompt that is too long.
func checkLength(text string) error {
	if len(text) > MaxLength {
		return &LimitError{What: "bytes", Got: len(text), Max: MaxLength}
	}
	return nil
}
