// Libraries that compute on devices (backend.h): found among paths, checked, loaded once a process and never unloaded.
#pragma once
#include <string>
#include <vector>

#include "backend/backend.h"

namespace tersor {

struct Library {
  const Backend* backend;
  std::string path;
};

// The library for devices of this name ("cuda"): the one that is loaded, else the first of the files that loads and was made for this core. null: why says
// of every file why not, one line each. A file that is refused is not kept in memory.
const Library* load_library(const char* name, const std::vector<std::string>& paths, std::string* why);
const Library* loaded_library(const char* name);

// seam_hash() of this build, from the core's own table.
uint64_t core_seam_hash();

}  // namespace tersor
