// A handler of SIGBUS for maps of files: where the file has no more data, zeros
// are read, and a flag says so.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct sdgo_watch sdgo_watch;

// NULL if there is no memory, or no handler can be set.
sdgo_watch *sdgo_watch_begin(void *data, size_t size);
// To be called before the map is taken away.
void sdgo_watch_end(sdgo_watch *watch);
bool sdgo_watch_faulted(const sdgo_watch *watch);
