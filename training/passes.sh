#!/bin/sh
# What fewer passes cost: pictures of prompts/one.txt by the built-in model in sdgo, in full and with
# each of the settings below, judged by evaluate.py, compared with those in full, with the
# processor's time.
#   sh training/passes.sh DIR [COUNT]     DIR: where the judge is kept or trained; run it at the repository's root
# SAMPLER is euler unless it says otherwise.
set -eu
work=$1 count=${2:-500} pictures=$(mktemp -d)
trap 'rm -rf "$pictures"' EXIT

row() { # FLAGS
	mkdir -p "$pictures/now"
	rm -f "$pictures/now"/*
	head -n "$count" training/prompts/one.txt | cut -f1 >"$pictures/prompts"
	# shellcheck disable=SC2086 # flags are words
	{ command time -f '%U %S' ./sdgo txt2img -m builtin/noto.gguf --prompts "$pictures/prompts" --sampler "${SAMPLER:-euler}" --steps 20 \
		-s 1 -t 1 --batch-size 8 -q $1 -o "$pictures/now/%04d.png" >/dev/null; } 2>"$pictures/time"
	[ -d "$pictures/full" ] || cp -r "$pictures/now" "$pictures/full"
	printf '%s: %s seconds, ' "${1:-in full}" "$(awk '{ print $1 + $2 }' "$pictures/time")"
	"${PYTHON:-python3}" training/evaluate.py ${EVALUATE:-} --work "$work" --lists one --count "$count" --images "$pictures/now" --against "$pictures/full"
}

row ""
row --fastest
row "--precision fast"
row "--guidance cfg:every=2"
for threshold in 0.1 0.2; do row "--cache easy:threshold=$threshold"; done
for numbers in every=2 every=3,start=0.05; do row "--cache taylor:$numbers"; done
row "--cache first_block:threshold=0.2"
row "--deep-cache 2"
