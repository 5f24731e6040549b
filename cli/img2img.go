package cli

import (
	"slices"

	urfave "github.com/urfave/cli/v2"
)

func img2imgCommand() *command {
	return &command{
		name:     "img2img",
		usage:    "makes pictures from a picture and a text",
		synopsis: "img2img -m MODEL -i PICTURE -p PROMPT [flags]",
		flags: drawFlags(slices.Concat(inputFlags(0.75), []urfave.Flag{
			&urfave.Float64Flag{Name: "image-cfg-scale", Usage: "`X` how strictly a model for editing (instruct-pix2pix) keeps to the picture (default: 1.5)"},
		}, hiresFlags())...),
		run:    runDraw,
		events: true,
		description: `
Examples:
  sdgo img2img -m sd15.safetensors -i sketch.png -p "a lighthouse at dusk, oil painting" -o lighthouse.png
  sdgo img2img -m sd15.safetensors -i photo.jpg -p "a watercolour" --strength 0.4 -W 768 -H 512
  sdgo img2img -m instruct-pix2pix.safetensors -i photo.jpg -p "make it snow" --image-cfg-scale 1.2`,
	}
}
