#!/bin/sh
# Copies the licence of every Go module that the program links into licenses/,
# and removes those of modules that it no longer does. Run it from anywhere after
# go.mod has changed; a test (licenses/licenses_test.go) says when.
set -eu
cd "$(dirname "$0")/.."
rm -f third_party/licenses/modules/*.txt
mkdir -p third_party/licenses/modules
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}	{{.Dir}}{{end}}{{end}}' ./cli/sdgo | sort -u |
    while IFS='	' read -r path dir; do
        [ -n "$path" ] || continue
        to=third_party/licenses/modules/$(echo "$path" | tr / _).txt
        cat "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE* 2>/dev/null >"$to" || [ -s "$to" ]
    done
cp "$(go env GOROOT)/LICENSE" third_party/licenses/modules/go.txt
