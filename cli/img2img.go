package cli

import requests "github.com/sdgo/sdgo/job"

func img2imgCommand() *command {
	return &command{
		name:     "img2img",
		usage:    "makes pictures from a picture and a text",
		synopsis: "img2img -m MODEL -i PICTURE -p PROMPT [flags]",
		flags:    drawFlags(requests.Img2Img, nil),
		run:      runDraw(requests.Img2Img),
		events:   true,
		description: `
Examples:
  sdgo img2img -m sd15.safetensors -i sketch.png -p "a lighthouse at dusk, oil painting" -o lighthouse.png
  sdgo img2img -m sd15.safetensors -i photo.jpg -p "a watercolour" --strength 0.4 -W 768 -H 512
  sdgo img2img -m instruct-pix2pix.safetensors -i photo.jpg -p "make it snow" --image-cfg-scale 1.2`,
	}
}
