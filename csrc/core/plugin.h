// ggml's plugins: shared libraries with a GPU device each, loaded at run time.
#pragma once

namespace sdgo {

// Loads the plugin in the file `path` and adds its devices to ggml's. Throws
// Code::device with the reason where it can't be used: a file that does not load,
// one that was built from another version of ggml, a machine without such a
// device. To be called by one thread at a time.
void load_plugin(const char *path);

} // namespace sdgo
