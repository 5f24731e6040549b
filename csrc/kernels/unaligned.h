// GCC on 64-bit Windows keeps the stack at multiples of 16 bytes, and yet moves
// vectors of 32 and 64 bytes to and from it with instructions that fault where
// an address is no multiple of that (GCC's bug 54412). So the assembler gets
// macros of these instructions' names, which stand for the unaligned instructions: as
// fast where addresses are aligned, and correct where they are not.
//
// The assembler's option -muse-unaligned-vector-move does the same, but Go forbids it
// in source files, and a plain "go build" must be correct.
#pragma once

#if defined(_WIN32) && defined(__GNUC__) && !defined(__clang__)
#define SDGO_UNALIGNED(aligned, unaligned)                                                                   \
    __asm__(".macro " aligned " operands:vararg\n\t" unaligned " \\operands\n.endm");
SDGO_UNALIGNED("vmovaps", "vmovups")
SDGO_UNALIGNED("vmovapd", "vmovupd")
SDGO_UNALIGNED("vmovdqa", "vmovdqu")
SDGO_UNALIGNED("vmovdqa32", "vmovdqu32")
SDGO_UNALIGNED("vmovdqa64", "vmovdqu64")
#undef SDGO_UNALIGNED
#endif
