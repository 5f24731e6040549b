// Hyperparameters by name, read once in a net's constructor.
#pragma once

#include "core/error.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sdgo {

class Params {
  public:
    void set(const char *name, const double *values, size_t n) { values_[name].assign(values, values + n); }

    // A whole number in [low, high].
    int integer(const char *name, int low, int high) const;

    // One to sixteen whole numbers in [low, high].
    std::vector<int> integers(const char *name, int low, int high) const;

    // A number in [low, high].
    float real(const char *name, double low, double high) const;

    // The same of a hyperparameter that may be left out.
    int integer_or(int otherwise, const char *name, int low, int high) const {
        return values_.count(name) ? integer(name, low, high) : otherwise;
    }
    std::vector<int> integers_or(std::vector<int> otherwise, const char *name, int low, int high) const {
        return values_.count(name) ? integers(name, low, high) : std::move(otherwise);
    }
    float real_or(float otherwise, const char *name, double low, double high) const {
        return values_.count(name) ? real(name, low, high) : otherwise;
    }

    // Fails if there is one that was not read; to be called after all reads.
    void expect_no_others(const char *net) const;

  private:
    const std::vector<double> &find(const char *name) const;

    std::map<std::string, std::vector<double>> values_;
    mutable std::set<std::string> read_;
};

} // namespace sdgo
