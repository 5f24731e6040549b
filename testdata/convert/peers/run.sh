#!/bin/sh
# Writes a file of every type with sdgo and reads it with three other programs: Go's
# gpustack/gguf-parser-go, npm's @huggingface/gguf, and Python's gguf, which also
# compares the numbers. Needs go, node and npm, and a Python with gguf and
# safetensors (PYTHON is its command).
#
#   sh testdata/convert/peers/run.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}

cd "$root"
go build -o "$work/sdgo" ./cli/sdgo
go run ./testdata/fullsize -arch tiny -type f32 -o "$work/source.safetensors"
(cd "$here" && go build -o "$work/reader" .)
cp "$here/check.mjs" "$work"
(cd "$work" && npm install --no-save --no-audit --no-fund --silent @huggingface/gguf)

for type in f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_K q3_K q4_K q5_K q6_K iq4_nl; do
    file=$work/$type.gguf
    "$work/sdgo" convert -q --type "$type" -o "$file" "$work/source.safetensors"
    echo "$type"
    said=$("$work/reader" "$file")
    echo "gguf-parser-go: $said"
    said=$(cd "$work" && node check.mjs "$file")
    echo "@huggingface/gguf: $said"
    said=$("$python" "$here/check.py" "$file" "$work/source.safetensors")
    echo "gguf for Python: $said"
    rm "$file"
done
