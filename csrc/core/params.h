// Hyperparameters by name, read once in a net's constructor.
#pragma once

#include "core/error.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

namespace sdgo {

class Params {
  public:
    void set(const char *name, const double *values, size_t n) { values_[name].assign(values, values + n); }

    // A whole number in [low, high].
    int integer(const char *name, int low, int high) const {
        const std::vector<int> v = integers(name, low, high);
        if (v.size() != 1) {
            invalid("hyperparameter %s: %zu values, 1 wanted", name, v.size());
        }
        return v[0];
    }

    // One to sixteen whole numbers in [low, high].
    std::vector<int> integers(const char *name, int low, int high) const {
        const auto found = values_.find(name);
        if (found == values_.end() || found->second.empty()) {
            invalid("hyperparameter %s is missing", name);
        }
        std::vector<int> out;
        for (double v : found->second) {
            if (!(v >= low && v <= high) || v != std::floor(v)) {
                invalid("hyperparameter %s: %g, a whole number from %d to %d wanted", name, v, low, high);
            }
            out.push_back(int(v));
        }
        return out;
    }

    // A finite number in [low, high].
    float real(const char *name, double low, double high) const {
        const auto found = values_.find(name);
        if (found == values_.end() || found->second.size() != 1) {
            invalid("hyperparameter %s is missing", name);
        }
        const double v = found->second[0];
        if (!(v >= low && v <= high)) {
            invalid("hyperparameter %s: %g, a number from %g to %g wanted", name, v, low, high);
        }
        return float(v);
    }

  private:
    std::map<std::string, std::vector<double>> values_;
};

} // namespace sdgo
