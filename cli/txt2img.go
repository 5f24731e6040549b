package cli

import requests "github.com/sdgo/sdgo/job"

func txt2imgCommand() *command {
	return &command{
		name:     "txt2img",
		usage:    "makes pictures from a text",
		synopsis: "txt2img -m MODEL -p PROMPT [flags]",
		flags:    drawFlags(requests.Txt2Img, nil),
		run:      runDraw(requests.Txt2Img),
		events:   true,
		description: `
Examples:
  sdgo txt2img -m sd15.safetensors -p "a lighthouse at dusk" -o lighthouse.png
  sdgo txt2img -m sd15.safetensors -p "(red:1.3) fox" -n "blurry" -s 42 --sampler dpm++2m --schedule karras
  sdgo txt2img -m sd15.gguf -p "a teapot" -b 4 -o teapots/
  sdgo txt2img -m sd15.gguf --prompts list.txt --grid 8 -s 1 -o sheet.png`,
	}
}
