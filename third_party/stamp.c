// Linked into each of ggml's plugins: which version of ggml's module it was
// built from. cgo/plugin_stamp.go reads it in the file, and nothing of a plugin with
// another one is run, because ggml's own version number does not change with its
// structs.
#ifdef _WIN32
#define SDGO_EXPORT __declspec(dllexport)
#else
#define SDGO_EXPORT __attribute__((visibility("default")))
#endif
#define SDGO_STAMP "sdgo_ggml_version=" // found by its text where symbols have no places

SDGO_EXPORT extern const char sdgo_ggml_version[];
const char sdgo_ggml_version[] = SDGO_STAMP SDGO_GGML_VERSION;
