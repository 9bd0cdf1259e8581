// exp and log made of plain arithmetic: the same bits on every machine, and simple loops over them vectorize.
#pragma once
#include <cstdint>
#include <cstring>

namespace tersor {

// exp(x) for x <= 0.5, relative error below 2 ulp: a Taylor polynomial on |r| <= ln2 / 2. Below the smallest normal number's logarithm it stays at
// that number. Adding 1.5 * 2^(mantissa bits) rounds to the nearest integer and leaves it in the low bits: no float -> int cast, so NaN is harmless.
inline double exp_negative(double x) {
  const double bounded = x < -708.0 ? -708.0 : x;
  const double shifted = bounded * 1.4426950408889634 + 6755399441055744.0;
  const double n = shifted - 6755399441055744.0;
  const double r = (bounded - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 87178291200.0;
  const double c[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0,
                      1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0};
  for (double k : c) p = p * r + k;
  uint64_t bits;
  memcpy(&bits, &shifted, 8);
  bits = (bits + 1023) << 52;
  double power;
  memcpy(&power, &bits, 8);
  return p * power;
}

// log(s) for normal s > 0; NaN and infinity come back as they are.
inline double log_positive(double s) {
  if (!(s <= 1.7976931348623157e308)) return s;
  uint64_t bits;
  memcpy(&bits, &s, 8);
  int64_t e = static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFFull) | (uint64_t(1023) << 52);
  double f;
  memcpy(&f, &bits, 8);
  if (f > 1.4142135623730951) {
    f *= 0.5;
    e++;
  }
  const double r = (f - 1) / (f + 1), z = r * r;
  double p = 0;
  for (int k = 23; k >= 1; k -= 2) p = p * z + 1.0 / k;
  const double n = static_cast<double>(e);
  return n * 6.93147180369123816490e-01 + (n * 1.90821492927058770002e-10 + 2 * r * p);
}

}  // namespace tersor
