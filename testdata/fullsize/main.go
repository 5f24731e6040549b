// Command fullsize writes a checkpoint of full size with random weights; see
// package sd/fullsize.
//
//	go run ./testdata/fullsize -o sd15.safetensors             # 2.1 GB, F16
//	go run ./testdata/fullsize -arch sd2 -type f32 -o sd2.safetensors
//	go run ./testdata/fullsize -arch sdxl -o sdxl.safetensors  # 6.9 GB
//	go run ./testdata/fullsize -arch sdxl-refiner -o refiner.safetensors
//	go run ./testdata/fullsize -arch z-image -type q4_K -o z-image.gguf  # 6.3 GB
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/sdgo/sdgo/sd/fullsize"
)

func main() {
	var o fullsize.Options
	flag.StringVar(&o.Arch, "arch", "sd1", fullsize.Kinds)
	flag.StringVar(&o.Type, "type", "f16", "f16 or f32; q4_K, and nothing else, of "+fullsize.TransformerKinds)
	flag.Uint64Var(&o.Seed, "seed", 1, "seed of the weights")
	out := flag.String("o", "", "the file to write")
	flag.Parse()
	if *out == "" {
		fmt.Fprintln(os.Stderr, "fullsize: -o FILE is missing")
		os.Exit(2)
	}
	write := func() error { return fullsize.Write(context.Background(), *out, o) }
	if o.Type == "q4_K" {
		write = func() error { return fullsize.WriteQ4K(context.Background(), *out, o.Arch) }
	}
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "fullsize:", err)
		os.Exit(1)
	}
}
