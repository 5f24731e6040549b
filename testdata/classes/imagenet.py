"""The names of ImageNet's 1000 classes, one a line in the order of their numbers.

python imagenet.py > ../../sd/classes/imagenet.txt

From the Python package timm 1.0.31 (Apache-2.0): its list of the classes' synsets, and the lemmas of each synset,
which are WordNet's. third_party/licenses/imagenet-names.txt has the licence.
"""

import importlib.util
import pathlib

info = pathlib.Path(importlib.util.find_spec("timm").submodule_search_locations[0]) / "data" / "_info"
lemmas = dict(line.split("\t") for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines())
for synset in (info / "imagenet_synsets.txt").read_text().split():
    print(lemmas[synset])
