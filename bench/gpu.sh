#!/bin/sh
# Proves or refutes a GPU's path on the machine at hand, in less than 8 minutes with CUDA on 16 cores:
#
#   sh bench/gpu.sh [DEVICE]      # cuda0; vulkan0; cpu tries the script itself
#
# It builds the plugin and the program, runs the tests of devices, draws pictures with models of full
# size (random weights, f16 and q8_0) on the CPU and on the device and compares them, and measures steps,
# decoding and memory. The report is OUT/report.txt, a line for each part with its seconds, and beside it
# each part's whole output. It ends with 1 if a part failed; the others run all the same.
#
#   OUT=DIR             the report's folder (default: build/gpu)
#   MODELS="sd1 sdxl"   kinds of models that are written and measured; "" leaves those parts out
#   SIDE=256            of the pictures that are compared
#   SIDES="512 1024"    of the measurements; SDXL is measured from 1024 on
#   LIMIT=480           seconds in all: a part that begins later is left out, and said to be
#   CUDA_ARCHITECTURES  as for make cuda
set -u
cd "$(dirname "$0")/.."
device=${1:-cuda0}
OUT=${OUT:-build/gpu} MODELS=${MODELS-sd1 sdxl} SIDE=${SIDE:-256} SIDES=${SIDES:-512 1024} LIMIT=${LIMIT:-480}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
report=$OUT/report.txt
start=$(date +%s)
failed=0
: > "$report"

say() { echo "$*" | tee -a "$report"; }

# part NAME COMMAND… runs a part within what is left of the time.
part() {
    name=$1; shift
    left=$((LIMIT - ($(date +%s) - start)))
    if [ "$left" -le 5 ]; then
        say "LEFT OUT  $name: no time"
        failed=1
        return
    fi
    began=$(date +%s)
    timeout "$left" "$@" > "$OUT/$name.log" 2>&1
    code=$?
    seconds=$(($(date +%s) - began))
    if [ "$code" = 0 ]; then
        say "ok        $name ($seconds s)"
    else
        say "FAILED    $name ($seconds s), exit code $code: $(tail -n 1 "$OUT/$name.log" | cut -c 1-200)"
        failed=1
    fi
    return "$code"
}

say "device $device, commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(nproc) cores"
if command -v nvidia-smi > /dev/null; then
    say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader)"
fi

# The plugin compiles beside the models' writing, which is the disk's and few cores' work.
case $device in
    cuda*) plugin=cuda ;;
    vulkan*) plugin=vulkan ;;
    *) plugin= ;;
esac
part program go build -o "$OUT/sdgo" ./cli/sdgo || { say "nothing can run without the program"; exit 1; }
written=
(
    for kind in $MODELS; do
        [ -s "$OUT/$kind.safetensors" ] || go run ./testdata/fullsize -arch "$kind" -o "$OUT/$kind.safetensors"
    done
) > "$OUT/models.log" 2>&1 &
writing=$!
if [ -n "$plugin" ]; then
    part plugin make "$plugin"
fi
export SDGO_BACKEND_PATH="$PWD/lib/sdgo"
part devices "$OUT/sdgo" devices && cat "$OUT/devices.log" >> "$report"
part networks make gpu TEST_DEVICE="$device"
wait "$writing" || say "FAILED    models: $(tail -n 1 "$OUT/models.log")"
for kind in $MODELS; do
    [ -s "$OUT/$kind.safetensors" ] && written="$written $kind"
done

for kind in $written; do
    part "pictures-$kind" env SDGO_TEST_DEVICE="$device" SDGO_FULL_SIZE="$OUT/$kind.safetensors" SDGO_FULL_SIZE_SIDE="$SIDE" \
        go test -count=1 -v -run FullSizeOnDevice ./sd
    grep -E " dB to the CPU" "$OUT/pictures-$kind.log" | sed 's/^ */          /' | tee -a "$report"
done
for kind in $written; do
    for side in $SIDES; do
        case $kind in *xl*) [ "$side" -ge 1024 ] || continue ;; esac
        for type in f16 q8_0; do
            part "bench-$kind-$side-$type" "$OUT/sdgo" bench -m "$OUT/$kind.safetensors" --backend "$device" --type "$type" --size "$side" --runs 3
            sed 's/^/          /' "$OUT/bench-$kind-$side-$type.log" >> "$report"
        done
    done
done
say "$(($(date +%s) - start)) s in all, $([ "$failed" = 0 ] && echo "nothing failed" || echo "something failed or was left out")"
exit "$failed"
