// Failed assertions of ggml's become errors instead of ending the process.
#pragma once

namespace sdgo {

// While one lives, a failed assertion on this thread is thrown as an Error: in the ggml
// that is linked, and in plugins, whose CUDA errors are such assertions. This is the
// last line of defence: what can be checked is checked before.
class AbortGuard {
  public:
    AbortGuard();
    ~AbortGuard();
    AbortGuard(const AbortGuard &) = delete;
    AbortGuard &operator=(const AbortGuard &) = delete;
};

// What ggml calls before it aborts.
void aborted(const char *message);

} // namespace sdgo
