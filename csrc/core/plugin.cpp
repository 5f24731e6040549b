#include "core/plugin.h"

#include "core/abort.h"
#include "core/device.h"

#include <iterator>
#include <string>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace sdgo {

namespace {

void keep_last(ggml_log_level, const char *text, void *line) {
    std::string &last = *static_cast<std::string *>(line);
    last = text;
    last.erase(last.find_last_not_of("\r\n ") + 1);
}

// A shared library. It stays open: its devices are ggml's from then on, and one that
// turned out to be no plugin does no harm.
class Library {
  public:
    explicit Library(const char *path) {
#ifdef _WIN32
        wchar_t wide[32768]; // the longest path that Windows has
        if (!MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, std::size(wide))) {
            fail("its path is too long, or not UTF-8");
        }
        // ggml's core is in the plugin's folder.
        handle_ = LoadLibraryExW(wide, nullptr, LOAD_WITH_ALTERED_SEARCH_PATH);
        if (!handle_) {
            fail("Windows error " + std::to_string(GetLastError()));
        }
#else
        handle_ = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!handle_) {
            const char *text = dlerror();
            fail(text ? text : "it cannot be loaded");
        }
#endif
    }

    // A symbol of the library or of the libraries it loads; null if there is none.
    void *find(const char *name) const {
#ifdef _WIN32
        void *p = reinterpret_cast<void *>(GetProcAddress(handle_, name));
        HMODULE core = GetModuleHandleA("libsdgo-ggml-base.dll");
        return p || !core ? p : reinterpret_cast<void *>(GetProcAddress(core, name));
#else
        return dlsym(handle_, name);
#endif
    }

    [[noreturn]] static void fail(const std::string &reason) {
        throw Error(Code::device, 0, reason.c_str());
    }

  private:
#ifdef _WIN32
    HMODULE handle_;
#else
    void *handle_;
#endif
};

} // namespace

void load_plugin(const char *path) {
    silence_ggml();
    const Library library(path);
    if (!library.find("ggml_backend_init")) {
        Library::fail("it is not one of ggml's plugins");
    }

    // A plugin has a core of its own, with a log and an abort callback of its own.
    std::string last;
    using SetLog = void (*)(ggml_log_callback, void *);
    using SetAbort = ggml_abort_callback_t (*)(ggml_abort_callback_t);
    const SetLog set_log = reinterpret_cast<SetLog>(library.find("ggml_log_set"));
    if (set_log) {
        set_log(keep_last, &last);
    }
    if (void *set_abort = library.find("ggml_set_abort_callback")) {
        reinterpret_cast<SetAbort>(set_abort)(aborted);
    }
    ggml_log_set(keep_last, &last);
    ggml_backend_reg_t plugin = nullptr;
    std::string thrown;
    try {
        plugin = ggml_backend_load(path);
    } catch (const std::exception &e) {
        thrown = e.what();
    }
    silence_ggml();
    if (set_log) {
        silence_ggml(set_log);
    }
    if (!plugin) {
        Library::fail(!thrown.empty() ? thrown : !last.empty() ? last : "it cannot be started");
    }
    if (ggml_backend_reg_dev_count(plugin) == 0) {
        Library::fail("it finds no device it can use");
    }
}

} // namespace sdgo
