// The core's one exception type. It never crosses the C interface: sdgo.cpp
// turns it into an sdgo_error.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>

namespace sdgo {

// Kinds of failure, with the numbers of sdgo_code (sdgo.h).
enum class Code {
    invalid = 1,   // an argument that the caller could have checked
    no_memory = 2, // host or device memory ran out
    cancelled = 3, // the caller's flag became non-zero
    device = 4,    // the device failed
};

// Bytes of a message, with the zero at its end.
constexpr size_t kErrorLength = 512;

class Error : public std::exception {
  public:
    Error(Code code, uint64_t needed, const char *message) : code(code), needed(needed) {
        snprintf(text, sizeof(text), "%s", message);
    }
    const char *what() const noexcept override { return text; }

    Code code;
    uint64_t needed; // bytes, with Code::no_memory; 0 if unknown
    char text[kErrorLength];
};

// Whose printf: on Windows MinGW's, which knows %zu and %lld as others do, and
// not Microsoft's, which "printf" would mean.
#if defined(_WIN32)
#define SDGO_PRINTF __MINGW_PRINTF_FORMAT
#else
#define SDGO_PRINTF printf
#endif

// Throws Code::invalid with a printf-style message.
[[noreturn]] __attribute__((format(SDGO_PRINTF, 1, 2))) inline void invalid(const char *format, ...) {
    char text[kErrorLength];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    throw Error(Code::invalid, 0, text);
}

// Throws Code::no_memory: `what` needs `bytes` bytes.
[[noreturn]] inline void no_memory(const char *what, uint64_t bytes) {
    char text[kErrorLength];
    snprintf(text, sizeof(text), "out of memory: %.1f MiB needed for %s", double(bytes) / (1 << 20), what);
    throw Error(Code::no_memory, bytes, text);
}

} // namespace sdgo
