//go:build unix

#include "watch.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// Watches are never freed, as the handler may look at any at any time; those that
// have ended are used again.
struct sdgo_watch {
    _Atomic(uintptr_t) begin, end; // of the map; begin 0: not in use
    atomic_bool faulted;
    sdgo_watch *next;
};

static _Atomic(sdgo_watch *) all;
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before; // Go's own, which panics or ends the program
static uintptr_t page;
static bool handling;

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

// Only what is safe in a handler: atomic loads, and the system call mmap.
static void handle(int signal, siginfo_t *info, void *context) {
    const uintptr_t at = (uintptr_t)info->si_addr;
    for (sdgo_watch *w = atomic_load(&all); w; w = w->next) {
        const uintptr_t begin = atomic_load(&w->begin), end = atomic_load(&w->end);
        if (begin == 0 || at < begin || at >= end) {
            continue;
        }
        const uintptr_t from = at / page * page;
        const size_t size = (end - from + page - 1) / page * page;
        atomic_store(&w->faulted, true);
        if (mmap((void *)from, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
            MAP_FAILED) {
            return; // the read is done once more
        }
    }
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signal);
    } else {
        sigaction(SIGBUS, &before, NULL); // and the read fails once more
    }
}

// Sets the handler, once, on the stack that Go gives its threads for signals.
static bool set_handler(void) {
    if (handling) {
        return true;
    }
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction ours = {0};
    ours.sa_sigaction = handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigfillset(&ours.sa_mask);
    handling = sigaction(SIGBUS, &ours, &before) == 0;
    return handling;
}

sdgo_watch *sdgo_watch_begin(void *data, size_t size) {
    pthread_mutex_lock(&changing);
    sdgo_watch *w = NULL;
    if (set_handler()) {
        for (w = atomic_load(&all); w && atomic_load(&w->begin) != 0; w = w->next) {
        }
        if (!w && (w = calloc(1, sizeof *w))) {
            w->next = atomic_load(&all);
            atomic_store(&all, w);
        }
    }
    if (w) {
        atomic_store(&w->faulted, false);
        atomic_store(&w->end, (uintptr_t)data + size);
        atomic_store(&w->begin, (uintptr_t)data);
    }
    pthread_mutex_unlock(&changing);
    return w;
}

void sdgo_watch_end(sdgo_watch *w) {
    pthread_mutex_lock(&changing);
    atomic_store(&w->begin, 0);
    pthread_mutex_unlock(&changing);
}

bool sdgo_watch_faulted(const sdgo_watch *w) {
    return atomic_load(&w->faulted);
}
