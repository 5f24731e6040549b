#include "core/shape.h"

namespace sdgo {

Folded fold(const Shape &shape) {
    Folded f;
    const int n = int(shape.size());
    f.n_dims = n < kTensorDims ? n : kTensorDims;
    for (int d = 0; d < n; d++) { // from the fastest
        f.ne[d < kTensorDims ? d : kTensorDims - 1] *= shape[size_t(n - 1 - d)];
    }
    return f;
}

Shape unfold(const int64_t *ne, int n_dims, int64_t slowest) {
    Shape s;
    if (n_dims > kTensorDims) {
        s = {slowest, ne[kTensorDims - 1] / slowest};
        n_dims = kTensorDims - 1;
    }
    for (int d = n_dims - 1; d >= 0; d--) {
        s.push_back(ne[d]);
    }
    return s;
}

std::string text(const Shape &shape) {
    std::string s = "[";
    for (int64_t d : shape) {
        s += (s.size() > 1 ? ", " : "") + std::to_string(d);
    }
    return s + "]";
}

} // namespace sdgo
