#!/bin/sh
# Draws the pictures of docs/sample.md with the built-in model. Run it at the repository's root.
set -eu
cd docs/pictures
sdgo=../../sdgo
$sdgo sample --class cat,fox,frog,penguin,octopus,ladybug,cactus,rocket -n 8 --grid 8 -s 1 --batch-size 8 -q -o sample-sheet.png
$sdgo sample --class fox -s 3 --trajectory sample-back.png -q -o sample-fox.png
$sdgo forward -i sample-fox.png --process cosine --steps 8 -s 1 -o sample-forward.png
rm sample-fox.png
