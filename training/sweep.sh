#!/bin/sh
# The model card's second table: pictures by sdgo, judged by evaluate.py.
#   sh training/sweep.sh DIR [COUNT]     DIR: train.py's --work; run it at the repository's root
# Without a checkpoint in DIR it is the built-in model alone. EVALUATE=--f32 trains
# the judge without bfloat16.
set -eu
work=$1 count=${2:-500} pictures=$(mktemp -d)
trap 'rm -rf "$pictures"' EXIT

score() { # MODEL STEPS GUIDANCE
	rm -f "$pictures"/*.png
	head -n "$count" training/prompts/one.txt | cut -f1 |
		./sdgo txt2img -m "$1" --prompts - --sampler euler --steps "$2" --cfg-scale "$3" -s 1 -q -o "$pictures/%04d.png" >/dev/null
	printf '%s, %d steps, guidance %d: ' "$(basename "$1")" "$2" "$3"
	"${PYTHON:-python3}" training/evaluate.py ${EVALUATE:-} --work "$work" --lists one --count "$count" --images "$pictures"
}

model=builtin/noto.gguf
if [ -f "$work/export/sdgo-noto.safetensors" ]; then
	for type in f16 q4_0 q8_0; do
		model=$work/export/$type.gguf
		./sdgo convert -q --force -o "$model" --type $type "$work/export/sdgo-noto.safetensors" >/dev/null
		score "$model" 20 5
	done
else
	score "$model" 20 5
fi
for guidance in 1 2 3 4 7 9 12; do score "$model" 20 $guidance; done
for steps in 4 10 50; do score "$model" $steps 5; done
