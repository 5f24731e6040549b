// The pool where threads can't be started: this program's own pthread_create starts a
// given number and then fails, as the system does at a limit of processes.
#include "core/pool.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

namespace {

std::atomic<int> left{0};

void expect(bool ok, const char *what, int k) {
    if (!ok) {
        printf("FAIL: %s, with %d threads to be had\n", what, k);
        exit(1);
    }
}

} // namespace

extern "C" int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                              void *arg) {
    using Create = int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    static const Create real = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
    return left.fetch_sub(1) > 0 ? real(thread, attr, start, arg) : EAGAIN;
}

int main() {
    alarm(60); // a hang is a failure
    constexpr int kThreads = 8, kSpare = 4;
    // As many are made as there are, after those that the rest of the process may
    // need; the pool works with any number, and ends.
    for (int k = 0; k <= kSpare + kThreads; k++) {
        left = k;
        sdgo::Pool pool(kThreads);
        const int made = pool.threads() - 1;
        expect(made == std::max(0, std::min(k - kSpare, kThreads - 1)), "threads", k);
        expect(pool.threads() == made + 1, "the number of threads changes", k);
        std::atomic<int> sum{0};
        for (int run = 0; run < 100; run++) {
            pool.run(10, [&](int i) { sum += i; });
        }
        expect(sum == 4500, "tasks are lost", k);

        left = k;
        const int possible = sdgo::threads_possible(kThreads);
        expect(possible == std::max(0, k - kSpare), "threads_possible", k);
    }
    sdgo::Pool never(kThreads); // ends without having started
    printf("pool: ok\n");
    return 0;
}
