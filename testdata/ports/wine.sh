#!/bin/sh
# wine.sh PROGRAM…: runs a Windows program under Wine, with a separate settings
# folder in build/. Without a program it only starts Wine, which ends some minutes
# after its last program.
set -eu
build=$(cd "$(dirname "$0")/../.." && pwd)/build
here=$(cd "$(dirname "$0")" && pwd)
export WINEPREFIX="$build/wine" WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
system32=$WINEPREFIX/drive_c/windows/system32
mkdir -p "$build"
if [ ! -e "$WINEPREFIX/ready" ]; then
    wineboot --init
    wineserver --wait
    if [ ! -e "$system32/bcryptprimitives.dll" ]; then
        x86_64-w64-mingw32-gcc-posix -O2 -shared -static -o "$system32/bcryptprimitives.dll" \
            "$here/bcryptprimitives.c" -ladvapi32
    fi
    touch "$WINEPREFIX/ready"
fi
if [ $# -eq 0 ]; then
    wineserver --persistent=300 || true # it is already running
    exec wine cmd /c exit
fi
exec wine "$@"
