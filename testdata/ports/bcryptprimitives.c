// The one function that Go's runtime needs of a library of Windows that Wine has
// only since its version 8.20 or so. wine.sh installs it where it is missing.
#include <windows.h>

#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *to, SIZE_T size) {
    for (; size > 0;) {
        const ULONG part = size < 4096 ? (ULONG)size : 4096;
        if (!RtlGenRandom(to, part)) {
            return FALSE;
        }
        to += part;
        size -= part;
    }
    return TRUE;
}
