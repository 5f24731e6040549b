#!/bin/sh
# Runs every fuzz target of the module for a time, one after the other.
# Usage: fuzz.sh TIME
set -eu
time=${1:-5s}
for package in $(go list ./...); do
    folder=$(go list -f '{{.Dir}}' "$package")
    for target in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$folder"/*_test.go | sed 's/func //'); do
        echo "fuzz $package $target"
        go test -run "^$" -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$package"
    done
done
