#include "core/abort.h"

#include "core/error.h"
#include "core/ggml_abi.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace sdgo {

namespace {

thread_local int guards = 0;

// Replaces ggml's own handlers, which look for a debugger in PATH and start it: for
// failed assertions, and for exceptions that nobody catches.
bool take_over() {
    ggml_set_abort_callback(aborted);
    std::set_terminate(std::abort);
    return true;
}

// Whether a failed assertion means that memory ran out.
bool is_memory(const char *message) {
    for (const char *words : {"failed to allocate", "mem_buffer != NULL", "out of memory"}) {
        if (strstr(message, words)) {
            return true;
        }
    }
    return false;
}

} // namespace

AbortGuard::AbortGuard() {
    static const bool taken = take_over();
    (void)taken;
    guards++;
}

AbortGuard::~AbortGuard() {
    guards--;
}

// The exception unwinds ggml's frames, also those of C, which have unwind tables like
// any others.
void aborted(const char *message) {
    if (guards > 0) {
        throw Error(is_memory(message) ? Code::no_memory : Code::device, 0, message);
    }
    fprintf(stderr, "%s\n", message);
}

} // namespace sdgo
