// Result of everything that can fail below the bindings: a code from status.def and a message. Nothing in native/ throws,
// prints or aborts. Message = where, rule, value, context.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>

namespace tersor {

enum class Code : int32_t {
  ok = 0,
#define TERSOR_STATUS(name, code, js_class, when) name,
#include "base/status.def"
#undef TERSOR_STATUS
};

const char* code_name(Code code);  // "ERR_SHAPE"; "OK" for ok

struct [[nodiscard]] Status {
  Code code = Code::ok;
  char message[252];
  Status() { message[0] = 0; }
  bool ok() const { return code == Code::ok; }
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
inline Status fail(Code code, const char* format, ...) {
  Status s;
  s.code = code;
  va_list args;
  va_start(args, format);
  vsnprintf(s.message, sizeof s.message, format, args);
  va_end(args);
  return s;
}

#define TERSOR_TRY(expression)                                  \
  do {                                                          \
    ::tersor::Status tersor_status_ = (expression);             \
    if (!tersor_status_.ok()) return tersor_status_;            \
  } while (0)

}  // namespace tersor
