#!/bin/sh
# Builds sdgo for another system and tests it under an emulator:
#   sh testdata/ports/run.sh windows    MinGW and Wine
#   sh testdata/ports/run.sh arm64      a cross compiler and qemu
# The gate runs this short set; FULL=1 runs every test that can run there.
#
# Some tests cannot run under Wine: those that start Go, and TestPlaces and
# TestBatchPlaces, because Debian 12's Wine can't make symbolic links.
set -eu
cd "$(dirname "$0")/../.."
system=$1
ports=$PWD/testdata/ports
build=$PWD/build/$system
with() { sh "$ports/with.sh" "$system" "$@"; }
mkdir -p "$build"
case $system in
windows)
    exe=.exe steps=20
    export SDGO_FAULT_PLUGINS="$build/plugins"
    emulate() { sh "$ports/wine.sh" "$@"; }
    # Wine's server keeps the output of the program that starts it open, so it starts here.
    sh "$ports/wine.sh" >/dev/null 2>&1
    # Since Go 1.24 os.RemoveAll, which tests use, needs a system call that old
    # versions of Wine lack; Go's fallback for old Windows works.
    remove=$(go env GOROOT)/src/internal/syscall/windows/at_windows.go
    sed 's/if TestDeleteatFallback {/if true {/' "$remove" >"$build/at_windows.txt"
    echo "{\"Replace\": {\"$remove\": \"$build/at_windows.txt\"}}" >"$build/overlay.json"
    check() {
        with go test -overlay "$build/overlay.json" -exec "sh '$ports/wine.sh'" \
            -skip '^(TestABI|TestImportsFollowTheRooms|TestLicencesOfLinkedModules|TestPlaces|TestPlacesOfLinks|TestBatchPlaces)$' "$@"
    }
    CXX=x86_64-w64-mingw32-g++-posix go run ./csrc/fault/prebuild -o "$build/plugins" -ending .dll
    ;;
arm64)
    exe='' steps=4
    emulate() { qemu-aarch64 -L /usr/aarch64-linux-gnu "$@"; }
    check() {
        with go test -exec "qemu-aarch64 -L /usr/aarch64-linux-gnu" "$@"
    }
    ;;
esac

echo "$system: the built-in model"
draw() { # FILE COMMAND…
    file=$1
    shift
    "$@" txt2img -q -p "a red apple on a yellow background" -s 1 --steps "$steps" -o "$file"
}
[ -z "${FULL:-}" ] || steps=20
with go build -o "$build/sdgo$exe" ./cli/sdgo
[ -x ./sdgo ] || go build -o sdgo ./cli/sdgo
draw "$build/native.png" ./sdgo
draw "$build/emulated.png" emulate "$build/sdgo$exe"
go run ./testdata/ports/compare -least 45 "$build/native.png" "$build/emulated.png"
[ "$system" != windows ] || sh "$ports/stack.sh" "$build/sdgo$exe"

echo "$system: kernels"
with sh -ec 'for file in csrc/kernels/*.cpp csrc/test/main.cpp csrc/test/*_test.cpp; do
        $CXX -std=c++17 -Icsrc -O3 -Wall -Wextra -c "$file" -o "$0/$(basename "$file").o"
    done
    $CXX -static "$0"/*.o -lpthread -o "$0/kernels$1"' "$build" "$exe"
emulate "$build/kernels$exe"

echo "$system: Go"
with go vet ./...
if [ -n "${FULL:-}" ]; then
    check -timeout 5h ./...
    exit
fi
# The tests for what differs there: files and names, or arithmetic (Go fuses products and sums).
if [ "$system" = windows ]; then
    check ./internal/... ./convert ./convert/read ./convert/write ./convert/gguf ./sd/picture ./cli/output ./cli/report
    check -run 'TestUnwritableOutput|TestBatchLines|TestConvert' ./cli
else
    check ./convert/dtype
    check -run 'OfDiffusers|OfKDiffusion|OfOtherPrograms|AllNoise|Torch|Philox' ./sampler
fi
check -run 'TestBind|TestInputs|TestUnaligned|TestGraphs|TestCancel|TestPlugins|TestDevicesThatFail' ./cgo
check -run '^(TestNetsAgreeWithDiffusers|TestXLNetsAgreeWithDiffusers)$/(sd1|base)' ./sd
