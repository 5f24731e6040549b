#include "core/pool.h"

#include <chrono>
#include <exception>

namespace sdgo {

namespace {

// How long a thread spins before it sleeps: longer than the gap between two nodes of a
// graph, shorter than anyone notices.
constexpr auto kSpin = std::chrono::microseconds(50);

void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins until `ready`, for kSpin at most; returns whether it became true.
template <class F> bool spin(F ready) {
    const auto end = std::chrono::steady_clock::now() + kSpin;
    do {
        for (int i = 0; i < 64; i++) {
            if (ready()) {
                return true;
            }
            relax();
        }
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

// Threads that are left for the rest of the process: Go's runtime ends the process
// where it cannot start one.
constexpr int kSpare = 4;

// Threads that do nothing: n, or as many as the system starts.
class Waiting {
  public:
    explicit Waiting(int n) {
        end_.lock();
        try {
            all_.reserve(size_t(n));
            while (int(all_.size()) < n) {
                all_.emplace_back([this] { const std::lock_guard<std::mutex> wait(end_); });
            }
        } catch (const std::exception &) { // which is what we want to know
        }
    }
    ~Waiting() {
        end_.unlock();
        for (std::thread &t : all_) {
            t.join();
        }
    }
    int threads() const { return int(all_.size()); }

  private:
    std::mutex end_;
    std::vector<std::thread> all_;
};

} // namespace

int Pool::threads() {
    if (!started_) {
        started_ = true;
        start();
    }
    return int(workers_.size()) + 1;
}

void Pool::start() {
    if (most_ <= 1) {
        return;
    }
    const Waiting spare(kSpare);
    if (spare.threads() < kSpare) {
        return;
    }
    try {
        workers_.reserve(size_t(most_ - 1));
        while (int(workers_.size()) < most_ - 1) {
            workers_.emplace_back([this] { work(0); });
        }
    } catch (const std::exception &) { // no thread, or no memory for one: fewer will do
    }
}

Pool::~Pool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        generation_++;
    }
    wake_.notify_all();
    for (std::thread &t : workers_) {
        t.join();
    }
}

void Pool::run(int n, Call call, const void *task) {
    if (n < 1) {
        return;
    }
    if (workers_.empty() || n == 1) {
        for (int i = 0; i < n; i++) {
            call(task, i);
        }
        return;
    }
    uint32_t generation;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        n_ = n;
        call_ = call;
        task_ = task;
        left_.store(n, std::memory_order_relaxed);
        generation = uint32_t(generation_.load(std::memory_order_relaxed) + 1);
        next_.store(uint64_t(generation) << 32, std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    take(generation, n, call, task);
    // The tasks that other threads took are short; yield in case one of them waits for
    // this core.
    while (left_.load(std::memory_order_acquire) > 0) {
        if (!spin([this] { return left_.load(std::memory_order_acquire) == 0; })) {
            std::this_thread::yield();
        }
    }
}

void Pool::take(uint32_t generation, int n, Call call, const void *task) {
    uint64_t at = next_.load(std::memory_order_relaxed);
    while (uint32_t(at >> 32) == generation && int(uint32_t(at)) < n) {
        if (next_.compare_exchange_weak(at, at + 1, std::memory_order_acq_rel)) {
            call(task, int(uint32_t(at)));
            left_.fetch_sub(1, std::memory_order_release);
            at = next_.load(std::memory_order_relaxed);
        }
    }
}

void Pool::work(uint64_t seen) {
    for (;;) {
        const auto fresh = [&] { return generation_.load(std::memory_order_acquire) != seen; };
        uint32_t generation;
        int n;
        Call call;
        const void *task;
        const bool soon = spin(fresh);
        {
            std::unique_lock<std::mutex> lock(mutex_);
            if (!soon) {
                wake_.wait(lock, fresh);
            }
            if (stop_) {
                return;
            }
            seen = generation_.load(std::memory_order_relaxed);
            generation = uint32_t(seen);
            n = n_;
            call = call_;
            task = task_;
        }
        take(generation, n, call, task);
    }
}

int threads_possible(int n) {
    const int made = Waiting(n + kSpare).threads();
    return made > kSpare ? made - kSpare : 0;
}

} // namespace sdgo
