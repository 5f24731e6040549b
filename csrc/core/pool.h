// The threads that the CPU kernels share.
//
// ggml's own threads wait for each other at a spinning barrier after every node, so a
// small net becomes slow as soon as one of the cores is busy with something else. Here
// a kernel's work is cut into tasks that threads take one at a time: a thread that is
// not scheduled delays its own task only, and idle threads sleep after a moment.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace sdgo {

class Pool {
  public:
    // `threads` includes the caller of run. They are started by the first call of
    // threads().
    explicit Pool(int threads) : most_(threads) {}
    ~Pool();
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;

    // The number of threads: fewer than asked for where the system starts no more, or
    // could start none after them.
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

    // The current job. Its fields are written under the lock before the generation that
    // announces it; next_ packs the generation and the next task, so that a late thread
    // cannot take a task of a job that it has not seen.
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

// How many threads, of n, the system can start now, with some left for others. It
// starts them to find out.
int threads_possible(int n);

} // namespace sdgo
