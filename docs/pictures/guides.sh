#!/bin/sh
# Draws the pictures of docs/guides.md with the built-in model. Run it at the repository's root.
# guides-low.png is sample's cat with seed 7 as means of 4x4 pixels, guides-half.png its left half.
set -eu
cd docs/pictures
sdgo="../../sdgo sample -q -n 8 --grid 8 -s 11 --batch-size 8"
free="--class none --cfg-scale 1"
classifier=../../builtin/emoji-classifier.safetensors
$sdgo $free -o guides-none.png
$sdgo $free --classifier $classifier --classifier-class fox --classifier-scale 8 -o guides-classifier.png
$sdgo --class cat --guide colour=#3060c0 -o guides-colour.png
$sdgo $free --guide lowres=guides-low.png -o guides-lowres.png
$sdgo $free --guide mask=guides-half.png -o guides-mask.png
