#include "core/params.h"

#include <cmath>

namespace sdgo {

int Params::integer(const char *name, int low, int high) const {
    const std::vector<int> v = integers(name, low, high);
    if (v.size() != 1) {
        invalid("hyperparameter %s must have 1 value, got %zu", name, v.size());
    }
    return v[0];
}

std::vector<int> Params::integers(const char *name, int low, int high) const {
    std::vector<int> out;
    for (double v : find(name)) {
        if (!(v >= low && v <= high) || v != std::floor(v)) {
            invalid("hyperparameter %s must be a whole number from %d to %d, got %g", name, low, high, v);
        }
        out.push_back(int(v));
    }
    return out;
}

float Params::real(const char *name, double low, double high) const {
    const std::vector<double> &v = find(name);
    if (v.size() != 1) {
        invalid("hyperparameter %s must have 1 value, got %zu", name, v.size());
    }
    if (!(v[0] >= low && v[0] <= high)) {
        invalid("hyperparameter %s must be a number from %g to %g, got %g", name, low, high, v[0]);
    }
    return float(v[0]);
}

void Params::expect_no_others(const char *net) const {
    for (const auto &v : values_) {
        if (!read_.count(v.first)) {
            invalid("%s has no hyperparameter %s", net, v.first.c_str());
        }
    }
}

const std::vector<double> &Params::find(const char *name) const {
    const auto found = values_.find(name);
    if (found == values_.end() || found->second.empty()) {
        invalid("hyperparameter %s is missing", name);
    }
    read_.insert(name);
    return found->second;
}

} // namespace sdgo
