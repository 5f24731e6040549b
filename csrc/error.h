// The core's one exception type. It never crosses the C interface: sdgo.cpp
// turns it into an sdgo_error.
#pragma once

#include "sdgo.h"

#include <cstdarg>
#include <cstdio>
#include <exception>

namespace sdgo {

class Error : public std::exception {
  public:
    Error(sdgo_code code, uint64_t wanted, const char *message) : code(code), wanted(wanted) {
        snprintf(text, sizeof(text), "%s", message);
    }
    const char *what() const noexcept override { return text; }

    sdgo_code code;
    uint64_t wanted;
    char text[sizeof(sdgo_error::message)];
};

// Whose printf: on Windows MinGW's, which knows %zu and %lld as others do, and
// not Microsoft's, which "printf" would mean.
#if defined(_WIN32)
#define SDGO_PRINTF __MINGW_PRINTF_FORMAT
#else
#define SDGO_PRINTF printf
#endif

// Throws SDGO_INVALID with a printf-style message.
[[noreturn]] __attribute__((format(SDGO_PRINTF, 1, 2))) inline void invalid(const char *format, ...) {
    char text[sizeof(sdgo_error::message)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    throw Error(SDGO_INVALID, 0, text);
}

// Throws SDGO_NO_MEMORY for `bytes` bytes wanted for `what`.
[[noreturn]] inline void no_memory(const char *what, uint64_t bytes) {
    char text[sizeof(sdgo_error::message)];
    snprintf(text, sizeof(text), "out of memory: %.1f MiB wanted for %s", double(bytes) / (1 << 20), what);
    throw Error(SDGO_NO_MEMORY, bytes, text);
}

} // namespace sdgo
