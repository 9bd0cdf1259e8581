#include "backend/plugins.h"

#include <mutex>

#include "ops/op_table.h"
#include "ops/schema.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace tersor {
namespace {

#if defined(_WIN32)
using Module = HMODULE;
Module open_module(const std::string& path, std::string* why) {
  wchar_t wide[1024];
  if (MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, wide, 1024) == 0) return *why = "the path is too long", nullptr;
  Module m = LoadLibraryExW(wide, nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
  if (!m) *why = "it does not load (error " + std::to_string(GetLastError()) + ")";
  return m;
}
void* symbol_of(Module m) { return reinterpret_cast<void*>(GetProcAddress(m, TERSOR_BACKEND_SYMBOL)); }
void close_module(Module m) { FreeLibrary(m); }
#else
using Module = void*;
Module open_module(const std::string& path, std::string* why) {
  Module m = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!m) {
    const char* text = dlerror();
    *why = std::string("it does not load: ") + (text ? text : "no reason given");
  }
  return m;
}
void* symbol_of(Module m) { return dlsym(m, TERSOR_BACKEND_SYMBOL); }
void close_module(Module m) { dlclose(m); }
#endif

// "" or why the library is not for this core. abi and bytes stand first in every version of the table.
std::string refusal(const Backend* b, const char* name) {
  if (!b) return "it gives no table of functions";
  if (b->abi != kBackendAbi) return "it speaks version " + std::to_string(b->abi) + " of the interface, this build " + std::to_string(kBackendAbi);
  if (b->bytes != sizeof(Backend)) return "its table of functions has " + std::to_string(b->bytes) + " bytes, expected " + std::to_string(sizeof(Backend));
  if (b->hash != core_seam_hash()) return "it was built from another table of ops: rebuild it together with the addon";
  if (std::string(b->name) != name) return std::string("it is for devices called ") + b->name;
  return "";
}

// Leaked on purpose: streams may outlive the static objects of this library.
struct Loaded {
  std::mutex mutex;
  std::vector<const Library*> libraries;
};
Loaded& loaded() {
  static Loaded* const one = new Loaded;
  return *one;
}

const Library* find(const Loaded& l, const char* name) {
  for (const Library* library : l.libraries)
    if (std::string(library->backend->name) == name) return library;
  return nullptr;
}

}  // namespace

uint64_t core_seam_hash() {
  SeamHash h;
  for (int i = 0; i < op_count(); i++) h.text(op_schema(i)), h.number(op_entry(i).bytes);
  return h.finish();
}

const Library* load_library(const char* name, const std::vector<std::string>& paths, std::string* why) {
  Loaded& l = loaded();
  std::lock_guard<std::mutex> lock(l.mutex);
  if (const Library* library = find(l, name)) return library;
  for (const std::string& path : paths) {
    std::string reason;
    if (Module m = open_module(path, &reason)) {
      const auto entry = reinterpret_cast<tersor_backend_fn>(symbol_of(m));
      const Backend* const backend = entry ? entry() : nullptr;
      reason = entry ? refusal(backend, name) : "it is no device library of Tersor (no " TERSOR_BACKEND_SYMBOL ")";
      if (reason.empty()) {
        l.libraries.push_back(new Library{backend, path});
        return l.libraries.back();
      }
      close_module(m);
    }
    *why += (why->empty() ? "  " : "\n  ") + path + ": " + reason;
  }
  return nullptr;
}

const Library* loaded_library(const char* name) {
  Loaded& l = loaded();
  std::lock_guard<std::mutex> lock(l.mutex);
  return find(l, name);
}

}  // namespace tersor
