// The threads that the CPU kernels share.
//
// ggml's own threads meet at a spinning barrier after every node, so a small
// net crawls as soon as one of the cores is busy with something else. Here a
// kernel's work is cut into tasks that threads take one at a time: a thread
// that the system has put aside delays its own task only, and idle threads
// sleep after a moment.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace sdgo {

class Pool {
  public:
    // `threads` counts the caller of run, too. They are started when something
    // first asks how many there are.
    explicit Pool(int threads) : most_(threads) {}
    ~Pool();
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;

    // How many there are: fewer than there should be where the system makes no
    // more, or none after them.
    int threads();

    // Calls task(0) … task(n-1), each once, on all threads; returns when all
    // are done. One call at a time.
    template <class F> void run(int n, const F &task) {
        run(
            n, [](const void *f, int i) { (*static_cast<const F *>(f))(i); }, &task);
    }

  private:
    using Call = void (*)(const void *, int);

    void start();
    void run(int n, Call call, const void *task);
    void work(uint64_t seen);
    void take(uint32_t generation, int n, Call call, const void *task);

    const int most_;
    bool started_ = false;
    std::vector<std::thread> workers_;

    // The job at hand. Its fields are written under the lock before the
    // generation that announces it; next_ packs the generation and the next
    // task, so that a late thread cannot take a task of a job it has not seen.
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint64_t> generation_{0};
    std::atomic<uint64_t> next_{0};
    std::atomic<int> left_{0};
    int n_ = 0;
    Call call_ = nullptr;
    const void *task_ = nullptr;
    bool stop_ = false;
};

// How many threads, of n, the system makes now: they are made, and end. Some more
// are left for others.
int threads_possible(int n);

} // namespace sdgo
