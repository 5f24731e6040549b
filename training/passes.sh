#!/bin/sh
# What fewer passes cost: pictures of a list of prompts by the built-in model in sdgo, in full and with
# each of the settings below, judged by evaluate.py, compared with those in full, with the
# processor's time.
#   sh training/passes.sh DIR [COUNT [FLAGS…]]     DIR: where the judge is kept or trained; FLAGS, each a
#                                                  setting as one word: these instead; run it at the repository's root
# SAMPLER is euler unless it says otherwise, LIST first (prompts.txt) or one of the folder prompts.
set -eu
work=$1 count=${2:-500} list=${LIST:-first} pictures=$(mktemp -d)
shift $(($# < 2 ? $# : 2))
prompts=training/prompts/$list.txt
[ "$list" != first ] || prompts=training/prompts.txt
trap 'rm -rf "$pictures"' EXIT

row() { # FLAGS
	mkdir -p "$pictures/now"
	rm -f "$pictures/now"/*
	head -n "$count" "$prompts" | cut -f1 >"$pictures/prompts"
	# shellcheck disable=SC2086 # flags are words
	{ command time -f '%U %S' ./sdgo txt2img -m builtin/noto.gguf --prompts "$pictures/prompts" --sampler "${SAMPLER:-euler}" --steps 20 \
		-s 1 -t 1 --batch-size 8 -q $1 -o "$pictures/now/%04d.png" >/dev/null; } 2>"$pictures/time"
	[ -d "$pictures/full" ] || cp -r "$pictures/now" "$pictures/full"
	printf '%s: %s seconds, ' "${1:-in full}" "$(awk '{ print $1 + $2 }' "$pictures/time")"
	"${PYTHON:-python3}" training/evaluate.py ${EVALUATE:-} --work "$work" --lists "$list" --count "$count" --images "$pictures/now" --against "$pictures/full"
}

[ $# -gt 0 ] || set -- --fastest "--precision fast" "--guidance cfg:every=2" "--cache easy:threshold=0.1" "--cache easy:threshold=0.2" \
	"--cache taylor:every=2" "--cache taylor:every=3,start=0.05" "--cache first_block:threshold=0.2" "--deep-cache 2"
row ""
for flags in "$@"; do row "$flags"; done
