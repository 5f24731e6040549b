#!/bin/sh
# Draws the pictures of docs/samplers.md with the built-in model. Run it at the repository's root.
set -eu
while read -r sampler schedule; do
	for steps in 6 20; do
		printf '%s\n' "a rocket on a blue background" "a panda on a green background" "a guitar on a pink background" |
			./sdgo txt2img --prompts - --grid 3 --cfg-scale 5 -s 1 --sampler "$sampler" --schedule "$schedule" --steps $steps \
				-q -o "docs/pictures/samplers/$(echo "$sampler" | tr -d +)-$schedule-$steps.png"
	done
done <<END
euler discrete
euler_a discrete
heun karras
dpm++2m karras
dpm++2m discrete
dpm++2m_sde karras
unipc karras
lcm sgm_uniform
END
