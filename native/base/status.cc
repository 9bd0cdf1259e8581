#include "base/status.h"

namespace tersor {

const char* code_name(Code code) {
  switch (code) {
    case Code::ok: return "OK";
#define TERSOR_STATUS(name, text, js_class, when) \
  case Code::name: return text;
#include "base/status.def"
#undef TERSOR_STATUS
  }
  return "ERR_INTERNAL";
}

}  // namespace tersor
