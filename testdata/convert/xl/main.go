// Command xl writes a checkpoint with random weights that has the names, shapes
// and size of Stable Diffusion XL base: 6.9 GB of f16, in the original layout except
// for the second text encoder's names. It is for measuring conversions. The same
// arguments give the same bytes on every machine.
//
//	go run ./testdata/convert/xl -o xl.safetensors
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"os"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
)

var text = convert.TextConfig{Prefix: "conditioner.embedders.0.transformer.", Vocabulary: 49408, ContextLength: 77, Width: 768, FFN: 3072, Layers: 12}

var text2 = convert.TextConfig{Prefix: "conditioner.embedders.1.transformer.", Vocabulary: 49408, ContextLength: 77, Width: 1280, FFN: 5120, Layers: 32}

var unet = convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 320, ChannelMult: []int{1, 2, 4}, NumResBlocks: 2,
	TransformerDepth: []int{0, 2, 10}, MiddleDepth: 10, ContextDim: 2048, ADMChannels: 2816, HeadDim: 64, LinearProjection: true}

var vae = convert.VAEConfig{ImageChannels: 3, Channels: 128, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2, ZChannels: 4, EmbedDim: 4,
	QuantConv: true, HasEncoder: true}

func main() {
	out := flag.String("o", "", "the file to write")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "xl:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	var tensors []safetensors.Tensor
	var sizes []int64
	total := int64(0)
	for _, all := range [][]convert.Weight{text.Weights(), text2.Weights(), unet.Weights(), vae.Weights()} {
		for _, w := range all {
			size := int64(2)
			for _, d := range w.Shape {
				size *= d
			}
			tensors = append(tensors, safetensors.Tensor{Name: w.Name, DType: "F16", Shape: w.Shape})
			sizes = append(sizes, size)
			total += size
		}
	}
	header, err := safetensors.Header(nil, tensors, sizes)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriterSize(f, 1<<20)
	if _, err := b.Write(header); err != nil {
		return err
	}
	// Four float16 at a time between 2^-7 and 2^-3, of both signs (Marsaglia's
	// xorshift64, 2003).
	state := uint64(88172645463325252)
	var four [8]byte
	for at := int64(0); at < total; at += 8 {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		binary.LittleEndian.PutUint64(four[:], state&0x8fff_8fff_8fff_8fff|0x2000_2000_2000_2000)
		if _, err := b.Write(four[:min(8, total-at)]); err != nil {
			return err
		}
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Close()
}
