#include "kernels/topk/topk.h"

#include <cmath>
#include <cstring>

#include "kernels/table.h"

namespace tersor {

namespace {

template <class T> T score(const TopkArgs& a, int64_t i) {
  const T v = static_cast<const T*>(a.x)[i];
  return a.magnitude ? std::fabs(v) : v;
}

void set_bit(uint8_t* bits, int64_t i, bool on) {
  if (i % 8 == 0) bits[i / 8] = 0;
  bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | static_cast<unsigned>(on) << (i % 8));
}

template <class T> int64_t mark(TopkArgs& a) {
  const T t = static_cast<T>(a.hi);
  int64_t set = 0, ties = 0;
  for (int64_t i = 0; i < a.n; i++) {
    const T v = score<T>(a, i);
    set_bit(a.mask, i, v > t);
    set += v > t;
    ties += v == t;
  }
  a.ties = ties;
  return set;
}

template <class T> int64_t bracket(TopkArgs& a) {
  const T lo = static_cast<T>(a.lo), hi = static_cast<T>(a.hi);
  int64_t set = 0, found = 0;
  for (int64_t i = 0; i < a.n; i++) {
    const T v = score<T>(a, i);
    const bool above = v > hi, inside = v >= lo && !above;
    set_bit(a.mask, i, above);
    set_bit(a.inside, i, inside);
    set += above;
    if (inside && found < a.capacity) memcpy(static_cast<T*>(a.values) + found, &v, sizeof v);
    found += inside;
  }
  a.ties = found;
  return set;
}

}  // namespace

int64_t topk_mark_f32_scalar(TopkArgs& a) { return mark<float>(a); }
int64_t topk_mark_f64_scalar(TopkArgs& a) { return mark<double>(a); }
int64_t topk_bracket_f32_scalar(TopkArgs& a) { return bracket<float>(a); }
int64_t topk_bracket_f64_scalar(TopkArgs& a) { return bracket<double>(a); }

int64_t topk_deposit_scalar(TopkArgs& a) {
  const uint8_t* take = static_cast<const uint8_t*>(a.values);
  int64_t j = 0;
  for (int64_t i = 0; i < (a.n + 7) / 8; i++)
    for (unsigned left = a.inside[i]; left; left &= left - 1, j++)
      if (take[j / 8] >> (j % 8) & 1) a.mask[i] = static_cast<uint8_t>(a.mask[i] | (left & (~left + 1)));
  return 0;
}

int64_t topk_nm_f32_scalar(TopkArgs& a) {
  for (int64_t g = 0; g < a.n; g += a.m)
    for (int i = 0; i < a.m; i++) {
      const float v = score<float>(a, g + i);
      int better = 0;
      for (int j = 0; j < a.m; j++) {
        const float w = score<float>(a, g + j);
        const bool equal = w == v || (w != w && v != v);
        better += equal ? j < i : v != v || w > v;
      }
      set_bit(a.mask, g + i, better < a.keep);
    }
  return 0;
}

int64_t topk_pack_f32_scalar(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 8) {
    const int64_t m = a.n - i < 8 ? a.n - i : 8;
    unsigned byte = 0;
    for (int64_t j = 0; j < m; j++) byte |= static_cast<unsigned>(static_cast<const float*>(a.x)[i + j] != 0.0f) << j;
    a.mask[i / 8] = static_cast<uint8_t>(byte);
  }
  return 0;
}

int64_t topk_unpack_f32_scalar(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i++) a.out[i] = static_cast<float>(a.mask[i / 8] >> (i % 8) & 1);
  return 0;
}

int64_t topk_apply_f32_scalar(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i++) {
    uint32_t bits;
    memcpy(&bits, static_cast<const float*>(a.x) + i, 4);
    bits &= 0u - (a.mask[i / 8] >> (i % 8) & 1u);
    memcpy(a.out + i, &bits, 4);
  }
  return 0;
}

namespace {
const TopkRow kRows[] = {
#define TERSOR_TOPK(variant, needs, function) {variant, needs, #function, function},
#include "kernels/topk/kernels.inc"
#undef TERSOR_TOPK
};
}  // namespace

int topk_rows(RowInfo* out, int capacity) { return describe_rows("topk", kRows, out, capacity); }

int topk_table(const TopkRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

const TopkKernels& topk_kernels() {
  static const TopkKernels chosen = {{select_variant(kRows, "mark").kernel, select_variant(kRows, "mark_f64").kernel},
                                     {select_variant(kRows, "bracket").kernel, select_variant(kRows, "bracket_f64").kernel},
                                     select_variant(kRows, "deposit").kernel,
                                     select_variant(kRows, "nm").kernel,
                                     select_variant(kRows, "pack").kernel,
                                     select_variant(kRows, "unpack").kernel,
                                     select_variant(kRows, "apply").kernel};
  return chosen;
}

}  // namespace tersor
