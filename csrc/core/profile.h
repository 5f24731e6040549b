// A profile of a net's operators: calls, arithmetic, time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace sdgo {

class Profile {
  public:
    struct Work {
        uint64_t calls = 0;
        double flop = 0;    // of the plain algorithm, whatever is really multiplied
        double seconds = 0; // of wall time
    };

    void add(const char *op, double flop, double seconds) {
        Work &w = work_[op];
        w.calls++;
        w.flop += flop;
        w.seconds += seconds;
    }
    const std::map<std::string, Work> &work() const { return work_; }
    void clear() { work_.clear(); }

  private:
    std::map<std::string, Work> work_;
};

// Seconds since it was made.
class Stopwatch {
  public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

  private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace sdgo
