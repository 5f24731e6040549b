#!/bin/sh
# The model card's second table: pictures by sdgo, judged by evaluate.py.
#   sh training/sweep.sh DIR [COUNT]     DIR: train.py's --work; run it at the repository's root
set -eu
work=$1 count=${2:-500} pictures=$(mktemp -d)
trap 'rm -rf "$pictures"' EXIT

score() { # MODEL STEPS GUIDANCE
	rm -f "$pictures"/*.png
	head -n "$count" training/prompts.txt | cut -f1 |
		./sdgo txt2img -m "$1" --prompts - --sampler euler --steps "$2" --cfg-scale "$3" -s 1 -q -o "$pictures/%04d.png" >/dev/null
	printf '%s, %d steps, guidance %d: ' "$(basename "$1")" "$2" "$3"
	"${PYTHON:-python3}" training/evaluate.py --work "$work" --count "$count" --images "$pictures"
}

for type in f16 q4_0 q8_0; do
	./sdgo convert -q --force -o "$work/export/$type.gguf" --type $type "$work/export/sdgo-noto.safetensors" >/dev/null
	score "$work/export/$type.gguf" 20 5
done
for guidance in 1 2 3 4 7 9 12; do score "$work/export/q8_0.gguf" 20 $guidance; done
for steps in 4 10 50; do score "$work/export/q8_0.gguf" $steps 5; done
