#!/bin/sh
# with.sh SYSTEM COMMAND…: runs a command with Go set up to cross-compile for another
# system, with Debian's compilers.
set -eu
system=$1
shift
case $system in
windows) # g++-mingw-w64-x86-64-posix
    export GOOS=windows GOARCH=amd64 CC=x86_64-w64-mingw32-gcc-posix CXX=x86_64-w64-mingw32-g++-posix
    ;;
arm64) # g++-aarch64-linux-gnu
    export GOOS=linux GOARCH=arm64 CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++
    ;;
*)
    echo "with.sh: the system must be windows or arm64, got $system" >&2
    exit 2
    ;;
esac
# Without the flags for this machine's processor, which the Makefile exports.
export CGO_ENABLED=1 CGO_CFLAGS="-O3 -Wno-stringop-overflow" CGO_CXXFLAGS="-O3 -Wno-stringop-overflow"
exec "$@"
