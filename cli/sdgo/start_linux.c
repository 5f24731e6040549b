// Checks, before Go's runtime starts, that the process may have the threads and the
// address space that the runtime needs. Without them the runtime would end the
// process with a page of stack traces; here it is one line.

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

// Threads that the runtime creates before it can be limited, and those that it needs
// besides the ones that compute.
enum { threads_needed = 10 };

// Address space, in bytes, without the threads' stacks: the runtime reserves at least
// 700 MB. If there is no more than `tight`, it would also take an optional 512 MB and
// then lack what it needs later, so it starts under a limit of `start`, which is
// lifted afterwards.
static const rlim_t least = 820000000, start = 1000000000, tight = 2000000000;

static const rlim_t default_stack = 8 << 20;

static struct rlimit before;
static int lowered;

// Lifts the limit that the runtime was started under.
void sdgo_started(void) {
    if (lowered) {
        setrlimit(RLIMIT_AS, &before);
    }
}

static void refuse(const char *text) {
    fprintf(stderr, "sdgo: %s\n", text);
    _exit(1);
}

static rlim_t used(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%ld", &pages) != 1) {
            pages = 0;
        }
        fclose(f);
    }
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void check_address_space(void) {
    struct rlimit stack;
    if (getrlimit(RLIMIT_AS, &before) != 0 || before.rlim_cur == RLIM_INFINITY) {
        return;
    }
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1); // else glibc reserves 64 MB for each thread
#endif
    rlim_t each = default_stack;
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY) {
        each = stack.rlim_cur;
    }
    const rlim_t taken = used(), need = least + threads_needed * each;
    const rlim_t left = before.rlim_cur > taken ? before.rlim_cur - taken : 0;
    if (left < need) {
        char text[200];
        snprintf(text, sizeof text,
                 "%llu MB of address space are left, at least %llu are needed: raise its limit (ulimit -v)",
                 (unsigned long long)left / 1000000, (unsigned long long)need / 1000000);
        refuse(text);
    }
    if (left < tight && left > start) {
        struct rlimit low = before;
        low.rlim_cur = taken + start;
        lowered = setrlimit(RLIMIT_AS, &low) == 0;
    }
}

static pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;

static void *wait_for_end(void *none) {
    pthread_mutex_lock(&end);
    pthread_mutex_unlock(&end);
    return none;
}

static void check_threads(void) {
    pthread_t all[threads_needed];
    int n = 0;
    pthread_mutex_lock(&end);
    while (n < threads_needed && pthread_create(&all[n], NULL, wait_for_end, NULL) == 0) {
        n++;
    }
    pthread_mutex_unlock(&end);
    for (int i = 0; i < n; i++) {
        pthread_join(all[i], NULL);
    }
    if (n < threads_needed) {
        char text[200];
        snprintf(text, sizeof text,
                 "%d threads can be created, at least %d are needed: raise the limit of processes (a control "
                 "group's pids.max, ulimit -u)",
                 n, threads_needed);
        refuse(text);
    }
}

__attribute__((constructor)) static void check(void) {
    check_address_space();
    check_threads();
}
