#!/bin/sh
# Builds the kernels' test twice and runs it: plain, and under the address and
# undefined-behaviour sanitizers. And the pool's, with threads that can't be made.
set -e
cd "$(dirname "$0")/.."
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
CXX=${CXX:-g++}

build_and_run() { # name, flags
    for file in kernels/*.cpp test/main.cpp test/*_test.cpp; do
        # shellcheck disable=SC2086
        $CXX -std=c++17 -Wall -Wextra -I. $2 -c "$file" -o "$build/$1-$(basename "$file").o" &
        pids="$pids $!"
    done
    for pid in $pids; do
        wait "$pid"
    done
    pids=
    # shellcheck disable=SC2086
    $CXX $2 "$build/$1"-*.o -lpthread -o "$build/$1"
    # Two processes, of which each prints when it has ended.
    "$build/$1" 1/2 >"$build/$1.first" 2>&1 &
    first=$!
    "$build/$1" 2/2
    wait "$first" || failed=$first
    cat "$build/$1.first"
    [ -z "${failed:-}" ]
}

build_and_run plain "-O3"
build_and_run sanitized "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"

# shellcheck disable=SC2086
$CXX -std=c++17 -Wall -Wextra -O2 -I. core/pool.cpp test/pool_check.cpp -lpthread -ldl -o "$build/pool"
"$build/pool"
