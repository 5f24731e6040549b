package cli

import requests "github.com/sdgo/sdgo/job"

func inpaintCommand() *command {
	return &command{
		name:     "inpaint",
		usage:    "repaints parts of a picture, or paints beyond its edges",
		synopsis: "inpaint -m MODEL -i PICTURE --mask MASK -p PROMPT [flags]",
		flags:    drawFlags(requests.Inpaint, nil),
		run:      runDraw(requests.Inpaint),
		events:   true,
		description: `
Examples:
  sdgo inpaint -m sd15.safetensors -i room.png --mask window.png -p "a round window" --mask-grow 8 --mask-blur 4
  sdgo inpaint -m sd15.safetensors -i crowd.jpg --mask face.png -p "a smiling face" --only-masked -o crowd-2.jpg
  sdgo inpaint -m sd15.safetensors -i room.png --canvas 768x512 -p "a wide room"`,
	}
}
