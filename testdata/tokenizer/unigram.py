#!/usr/bin/env python3
"""Trains a small vocabulary like T5's and writes it in both forms, and 10,000 texts with the ids that the transformers
library gives them: testdata/tokenizer/{spiece.model,t5.json.gz,t5.jsonl.gz}. T5's own vocabulary is in no package.

pip install sentencepiece==0.2.1 transformers==5.23.0. Run from the repository's root.
"""
import gzip
import io
import json
import os
import sys

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from transformers import T5Tokenizer

sys.path.insert(0, os.path.dirname(__file__))
from strings_of_all_scripts import WORDS, strings

special = ["<extra_id_0>", "<extra_id_99>", "</s>", "<pad>"]
corpus = [s for s in strings(1500) if "\u2581" not in s] + [" ".join(WORDS)] * 200
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(corpus), model_writer=model, vocab_size=2500, model_type="unigram", normalization_rule_name="nmt_nfkc",
    character_coverage=0.98, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2)
with open("testdata/tokenizer/spiece.model", "wb") as f:
    f.write(model.getvalue())

spm = proto.ModelProto.FromString(model.getvalue())
pieces = [(p.piece, p.score) for p in spm.pieces] + [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
tokenizer = T5Tokenizer(vocab=pieces, _spm_precompiled_charsmap=spm.normalizer_spec.precompiled_charsmap)
tokenizer.backend_tokenizer.save("/tmp/t5.json", pretty=False)
with open("/tmp/t5.json", "rb") as f, gzip.GzipFile("testdata/tokenizer/t5.json.gz", "wb", mtime=0) as to:
    to.write(f.read())
with gzip.GzipFile("testdata/tokenizer/t5.jsonl.gz", "wb", mtime=0) as f:
    for s in strings(10000, special):
        f.write((json.dumps([s, tokenizer(s, add_special_tokens=False)["input_ids"]], separators=(",", ":")) + "\n").encode())
