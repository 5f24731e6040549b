package bytelevel_test

import (
	"fmt"

	"github.com/sdgo/sdgo/sd/tokenizer/bytelevel"
)

func ExampleQwen() {
	t := bytelevel.Qwen()
	ids := t.Encode("<|im_start|>user\na photo of a cat<|im_end|>\n")
	fmt.Println(ids)
	fmt.Printf("%q\n", t.Decode(ids[2:6]))
	// Output:
	// [151644 872 198 64 6548 315 264 8251 151645 198]
	// "\na photo of"
}
