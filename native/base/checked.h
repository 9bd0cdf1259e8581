// Integer arithmetic that says when it overflows. Returns true on overflow, like the compiler builtins.
#pragma once
#include <cstdint>

namespace tersor {

inline bool mul_overflows(int64_t a, int64_t b, int64_t* out) {
#if defined(__GNUC__)
  return __builtin_mul_overflow(a, b, out);
#else
  if (a != 0 && (b > INT64_MAX / (a < 0 ? -a : a) || b < -(INT64_MAX / (a < 0 ? -a : a)))) return true;
  *out = a * b;
  return false;
#endif
}

inline bool add_overflows(int64_t a, int64_t b, int64_t* out) {
#if defined(__GNUC__)
  return __builtin_add_overflow(a, b, out);
#else
  if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b)) return true;
  *out = a + b;
  return false;
#endif
}

}  // namespace tersor
