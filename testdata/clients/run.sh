#!/bin/sh
# Runs clients that others have written against `sdgo serve`: those of PyPI in a virtual
# environment, those of npm, and those in Go. Each draws with the built-in model and
# compares its picture with that of the command line.
# Usage: run.sh [python] [node] [golang], by default all of them
set -eu
cd "$(dirname "$0")/../.."
here=$PWD/testdata/clients
work=$PWD/build/clients
mkdir -p "$work"
go build -o "$work/sdgo" ./cli/sdgo

# The pictures that clients must get.
draw() {
    "$work/sdgo" "$@" -q -p "a red apple" -n "a tree" -s 42 --steps 4 --sampler euler_a --cfg-scale 5 -W 64 -H 64
}
draw txt2img -o "$work/expected.png"
draw img2img -i "$work/expected.png" --strength 0.5 -o "$work/expected-from.png"

models="$work/models"
mkdir -p "$models"
cp testdata/nets/sd1.safetensors "$models/tiny.safetensors"
cp testdata/controls/sd1.safetensors "$models/edges.safetensors"
"$work/sdgo" txt2img -q -m "$models/tiny.safetensors" -p "a red apple" -s 42 --steps 4 --sampler euler_a --cfg-scale 5 -W 64 -H 64 \
    --control "$models/edges.safetensors" --control-image "$work/expected.png" --control-preprocess canny:low=64:high=64:resolution=512 -o "$work/expected-control.png"

cat >"$work/users" <<END
anna:a secret
END
cat >"$work/keys" <<END
sk-clients-0123456789
END

# serve NAME FLAGS… starts a server and sets url.
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null || true; done' EXIT
trap 'exit 1' INT TERM
serve() {
    name=$1
    shift
    "$work/sdgo" serve --listen 127.0.0.1:0 --any-model "$@" 2>"$work/$name.log" &
    pids="$pids $!"
    url=
    for _ in $(seq 100); do
        url=$(sed -n 's/.*msg=serving address=\([^ ]*\).*/\1/p' "$work/$name.log")
        [ -z "$url" ] || return 0
        sleep 0.1
    done
    cat "$work/$name.log"
    exit 1
}

serve closed --auth-file "$work/users" --api-key-file "$work/keys"
export SDGO_URL="$url" SDGO_USER=anna SDGO_PASSWORD="a secret" SDGO_KEY=sk-clients-0123456789
serve open
export SDGO_OPEN_URL="$url"
serve busy --queue 1
export SDGO_BUSY_URL="$url"
serve controls --models "$models" -m "$models/tiny.safetensors"
export SDGO_CONTROLS_URL="$url" SDGO_EXPECTED_CONTROL="$work/expected-control.png"
export SDGO_EXPECTED="$work/expected.png" SDGO_EXPECTED_FROM="$work/expected-from.png"

for which in ${*:-python node golang}; do
    case $which in
    python)
        [ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
        "$work/venv/bin/python" -m pip install -q -r "$here/python/requirements.txt"
        "$work/venv/bin/python" "$here/python/clients.py"
        ;;
    node)
        mkdir -p "$work/node"
        cp "$here/node/package.json" "$here/node/clients.mjs" "$work/node/"
        (cd "$work/node" && npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts && node clients.mjs)
        ;;
    golang)
        (cd "$here/golang" && go run .)
        ;;
    *)
        echo "$which: must be python, node or golang"
        exit 2
        ;;
    esac
done
echo "all clients are content"
