// Command convert quantizes a model to a GGUF file of 8 bits a weight. First it prints
// what the model is and how large the file will be.
//
//	go run ./examples/convert sd15.safetensors sd15-q8.gguf
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: convert MODEL OUT.gguf")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := quantize(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func quantize(ctx context.Context, from, to string) error {
	model, err := convert.Load(from)
	if err != nil {
		return err
	}
	defer model.Close()
	options := convert.Options{
		Type:     dtype.Q8_0,
		Quantize: cgo.Quantize, // ggml's own; without it package convert is pure Go
		Progress: func(done, total int64) { fmt.Printf("\r%3d %%", 100*done/max(total, 1)) },
	}
	changes, bytes, err := convert.Preview(model, options)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d tensors, %d MB as %s\n", model.Description, len(changes), bytes/1_000_000, options.Type)
	if err := convert.Convert(ctx, model, to, options); err != nil {
		return err
	}
	fmt.Println()
	return nil
}
