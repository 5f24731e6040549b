// What happens where an assertion of ggml's fails: an error, not the end of the
// process.
#pragma once

namespace sdgo {

// While one lives, a failed assertion of ggml's on this thread, which would end
// the process, is thrown as an Error instead: of the ggml that is linked, and of
// plugins', whose CUDA errors end in such assertions. It is the last line: what
// can be checked is checked before.
class AbortGuard {
  public:
    AbortGuard();
    ~AbortGuard();
    AbortGuard(const AbortGuard &) = delete;
    AbortGuard &operator=(const AbortGuard &) = delete;
};

// What ggml calls where it is about to abort.
void aborted(const char *message);

} // namespace sdgo
