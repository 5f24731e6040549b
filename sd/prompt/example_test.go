package prompt_test

import (
	"fmt"

	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

// A prompt becomes segments of one weight each; tags of extra networks are removed.
func ExampleParse() {
	segments, tags, err := prompt.Parse("a (red:1.3) [apple] <lora:fruit:0.8>")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range segments {
		fmt.Printf("%q × %.3g\n", s.Text, s.Weight)
	}
	fmt.Println(tags[0].Kind, tags[0].Name, tags[0].Args)
	// Output:
	// "a " × 1
	// "red" × 1.3
	// " " × 1
	// "apple" × 0.909
	// " " × 1
	// lora fruit [0.8]
}

// CLIP reads 77 tokens at a time: start, 75 tokens of the prompt, end. BREAK ends
// a chunk early.
func ExampleChunks() {
	segments, _, err := prompt.Parse("a (red:1.3) apple BREAK on a table")
	if err != nil {
		fmt.Println(err)
		return
	}
	clip := tokenizer.CLIP()
	chunks, err := prompt.Chunks(segments, clip, prompt.Options{Pad: clip.EOS()})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range chunks {
		fmt.Println(len(c.Tokens), c.Tokens[:5], c.Weights[:5])
	}
	// Output:
	// 77 [49406 320 736 3055 49407] [1 1 1.3 1 1]
	// 77 [49406 525 320 2175 49407] [1 1 1 1 1]
}

// A prompt may change while a picture is drawn.
func ExampleSchedule() {
	entries, err := prompt.Schedule("a [red apple:green pear:0.5] on a table", 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Printf("up to step %d: %s\n", e.Until, e.Text)
	}
	// Output:
	// up to step 10: a red apple on a table
	// up to step 20: a green pear on a table
}
