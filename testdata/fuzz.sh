#!/bin/sh
# Runs every fuzz target of the module for a time, one after the other, and prints
# the executions per second of each. After a failure it continues with the other
# targets; failures are printed again at the end.
# Usage: fuzz.sh TIME [TARGET …], where a target is such as convert/gguf.FuzzParse
#
# Go before 1.27 sometimes reports the end of the time as a failure, with only
# "context deadline exceeded" (https://go.dev/issue/75804). A target that fails with
# only these words, and without an input, runs again, at most three times.
set -eu
time=${1:-5s}
[ $# -eq 0 ] || shift
selected=" $* "
log=$(mktemp)
failures=$(mktemp)
trap 'rm -f "$log" "$failures"' EXIT
trap 'exit 1' INT TERM

# Targets write their files to memory if /dev/shm exists. Go's programs stay
# elsewhere, because /dev/shm may be mounted noexec.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
    export GOTMPDIR="${GOTMPDIR:-${TMPDIR:-/tmp}}" TMPDIR=/dev/shm
fi

fuzz() {
    go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 10x "$1" >"$log" 2>&1
}

# Whether the output is that false failure: without an input, there is only one line
# after "--- FAIL".
only_the_deadline() {
    ! grep -q 'Failing input written\|panic\|hung or terminated' "$log" &&
        [ "$(sed -n '/^--- FAIL/,/^FAIL$/p' "$log" | sed '1d;$d' | tr -d ' ')" = contextdeadlineexceeded ]
}

# The last count of executions, divided by the elapsed time, such as 1h2m3s.
rate() {
    sed -n 's/^fuzz: elapsed: \([0-9hms]*\), execs: \([0-9]*\) .*/\1 \2/p' "$log" | tail -n 1 | awk '{
        seconds = 0; n = ""
        for (i = 1; i <= length($1); i++) {
            c = substr($1, i, 1)
            if (c ~ /[0-9]/) { n = n c; continue }
            seconds += n * (c == "h" ? 3600 : c == "m" ? 60 : 1); n = ""
        }
        if (seconds > 0) printf "%d executions, %d a second\n", $2, $2 / seconds
    }'
}

prefix=$(go list -m)/
for package in $(go list ./...); do
    folder=$(go list -f '{{.Dir}}' "$package")
    for target in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$folder"/*_test.go | sed 's/func //'); do
        name=${package#"$prefix"}.$target
        case "$selected" in "  " | *" $name "*) ;; *) continue ;; esac
        status=failed
        for try in 1 2 3; do
            if fuzz "$package" "$target"; then
                status=passed
            elif [ "$try" -lt 3 ] && only_the_deadline; then
                continue
            fi
            break
        done
        made=$(rate)
        echo "fuzz $name: $status${made:+, $made}"
        if [ "$status" = failed ]; then
            { echo "fuzz $name:" && cat "$log"; } >>"$failures"
        fi
    done
done
cat "$failures"
[ ! -s "$failures" ]
