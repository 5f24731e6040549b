// Linked into each of ggml's plugins: which version of ggml's module it was
// built from. csrc/plugin.cpp loads those of its own version alone, because
// ggml's own version number does not change with its structs.
#ifdef _WIN32
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
extern const char sdgo_ggml_version[];
const char sdgo_ggml_version[] = SDGO_GGML_VERSION;
