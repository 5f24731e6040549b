// Command batch draws a picture for each line of its input, two in one pass of the
// network where memory allows. After a line that fails it continues with the others.
//
//	go run ./examples/batch sd15.safetensors pictures < prompts.txt
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/sd"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: batch MODEL FOLDER < PROMPTS")
	}
	if err := draw(context.Background(), os.Args[1], os.Args[2], os.Stdin); err != nil {
		log.Fatal(err)
	}
}

func draw(ctx context.Context, path, folder string, prompts io.Reader) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	model, err := sd.Open(path, sd.Options{Batch: 2})
	if err != nil {
		return err
	}
	defer model.Close()
	var requests []sd.Request
	lines := bufio.NewScanner(prompts)
	for lines.Scan() {
		r := sd.Request{Prompt: lines.Text(), Seed: int64(len(requests))}
		if err := model.Check(r); err != nil {
			log.Printf("%q: %v", r.Prompt, err)
			continue
		}
		requests = append(requests, r)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return model.GenerateAll(ctx, requests, func(i int, r *sd.Result, err error) error {
		if err != nil {
			log.Printf("%q: %v", requests[i].Prompt, err)
			return nil // continue with the others
		}
		return save(filepath.Join(folder, fmt.Sprintf("%03d.png", i+1)), r.Images[0])
	})
}

func save(path string, img sd.Image) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(file, img.Image), file.Close())
}
