package unigram_test

import (
	"fmt"

	"github.com/sdgo/sdgo/sd/tokenizer/unigram"
)

// A vocabulary is usually read from a file, with FromSentencePiece or FromJSON.
func ExampleNew() {
	t, err := unigram.New(unigram.Tables{
		Pieces:  []unigram.Piece{{"<unk>", 0}, {"</s>", 0}, {"▁a", -2}, {"▁cat", -3}, {"▁c", -2}, {"at", -2}},
		Special: map[string]int32{"</s>": 1},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Encode("a  cat</s>"))
	// Output: [2 3 1]
}
