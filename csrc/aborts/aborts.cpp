#include "core/abort.h"
#include "core/context.h"
#include "core/error.h"

extern "C" bool sdgo_fail_assertion(char *text, int size);

bool sdgo_fail_assertion(char *text, int size) {
    const sdgo::Context ctx(sdgo::Context::size(1), "a test");
    try {
        const sdgo::AbortGuard guard;
        const int64_t ne[] = {1};
        ggml_new_tensor(ctx.get(), ggml_type(-1), 1, ne);
    } catch (const sdgo::Error &e) {
        snprintf(text, size_t(size), "%s", e.what());
        return e.code == sdgo::Code::device;
    }
    return false;
}
