#!/bin/sh
# Runs every fuzz target of the module for a time, one after the other.
# Usage: fuzz.sh TIME
#
# Go before 1.27 now and then reports the end of the time itself as a failure,
# "context deadline exceeded" and nothing more (https://go.dev/issue/75804). A
# target that fails with these words alone, no input written down, runs again;
# one that fails so three times has failed.
set -eu
time=${1:-5s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' INT TERM

fuzz() {
    go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 10x "$1" >"$log" 2>&1 &&
        status=0 || status=$?
    cat "$log"
    return "$status"
}

# What the tool prints after a failure: without an input that made it fail, the
# line below "--- FAIL" is all there is.
only_the_deadline() {
    ! grep -q 'Failing input written\|panic\|hung or terminated' "$log" &&
        [ "$(sed -n '/^--- FAIL/,/^FAIL$/p' "$log" | sed '1d;$d' | tr -d ' ')" = contextdeadlineexceeded ]
}

for package in $(go list ./...); do
    folder=$(go list -f '{{.Dir}}' "$package")
    for target in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$folder"/*_test.go | sed 's/func //'); do
        for try in 1 2 3; do
            echo "fuzz $package $target"
            fuzz "$package" "$target" && break
            [ "$try" -lt 3 ] && only_the_deadline || exit 1
        done
    done
done
