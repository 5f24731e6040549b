#!/bin/sh
# Builds the benchmark of the kernels and runs it: bench.sh [-p] [-t THREADS]
# [-r ROUNDS] [-i ISA] [NAME…]; -p: one thread's processor time. With libdnnl-dev installed it compares with oneDNN.
set -e
cd "$(dirname "$0")/.."
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
CXX=${CXX:-g++}
onednn=
if echo '#include <dnnl.hpp>' | $CXX -std=c++17 -fsyntax-only -x c++ - 2>/dev/null; then
    onednn=-ldnnl
fi
$CXX -std=c++17 -O3 -I. kernels/*.cpp core/pool.cpp test/bench.cpp $onednn -lpthread -o "$build/bench"
# Keeps oneDNN's threads from spinning while ours run; it is read before main begins.
OMP_WAIT_POLICY=passive "$build/bench" "$@"
