// Command peers reads a GGUF file with gpustack/gguf-parser-go. It is a separate
// module, so that the project does not depend on that package.
//
//	cd testdata/convert/peers && go run . FILE.gguf
package main

import (
	"fmt"
	"os"

	parser "github.com/gpustack/gguf-parser-go"
)

func main() {
	f, err := parser.ParseGGUFFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	info, err := os.Stat(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var weights uint64
	end := uint64(f.TensorDataStartOffset)
	for _, t := range f.TensorInfos {
		weights += t.Elements()
		end = max(end, uint64(f.TensorDataStartOffset)+t.Offset+t.Bytes())
	}
	if gap := uint64(info.Size()) - end; gap >= 32 {
		fmt.Fprintf(os.Stderr, "the last tensor must end at the file's end, got byte %d of %d\n", end, info.Size())
		os.Exit(1)
	}
	fmt.Println("architecture", f.Metadata().Architecture, "file type", f.Metadata().FileType)
	fmt.Println(len(f.TensorInfos), "tensors,", weights, "weights,", len(f.Header.MetadataKV), "entries of metadata")
}
