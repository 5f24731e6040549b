#!/bin/sh
# stack.sh PROGRAM.exe: fails if a function of the core moves a vector of 32 or 64
# bytes to or from memory with an instruction that requires alignment, because GCC on
# Windows does not align the stack (csrc/kernels/unaligned.h).
#
# Debian's MinGW has a patch for that. So the kernels are also compiled with this
# system's GCC, which has none, to test the macros.
set -eu
cd "$(dirname "$0")/../.."
aligned() { # objdump's output → such instructions, and a line if there is no function of the core
    awk '
    /^[0-9a-f]+ <.*>:$/ { name = $2; core = name ~ /sdgo/ && name !~ /github/; cores += core }
    core && /vmov(aps|apd|dqa)/ && /%[yz]mm/ && /\(/ { print name, $0 }
    END { if (!cores) print "no function of the core is there" }'
}
none() { # FILE…: fails if there are any
    bad=$(cat)
    [ -z "$bad" ] || { echo "$1: aligned moves:" && echo "$bad" | head -5 && exit 1; } >&2
}
x86_64-w64-mingw32-objdump -d --no-show-raw-insn "$1" | aligned | none "$1"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
for file in csrc/kernels/avx*.cpp csrc/kernels/amx.cpp; do
    g++ -std=c++17 -Icsrc -O1 -D_WIN32 -c "$file" -o "$object"
    objdump -d --no-show-raw-insn "$object" | aligned | none "$file"
done
