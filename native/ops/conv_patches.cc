#include "ops/conv_patches.h"

#include <atomic>
#include <cstring>

#include "kernels/patches/patches.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr int64_t kBehind = 64;  // floats behind a plane that are read, and written, with its last patch and pixel
constexpr int64_t kMostPlane = int64_t(1) << 14;

// An image with its zeros around it as pixels, and where the patches of windows lie in it.
struct Plane {
  int64_t step, pitch, rows, vectors;  // floats of a pixel, of a row; of a patch
  int64_t floats(const ConvShape& s) const { return (s.height + 2 * s.ph) * pitch + kBehind; }
  int64_t inside(const ConvShape& s) const { return s.ph * pitch + s.pw * step; }  // the image's first pixel
};

Plane reading(const ConvShape& s) { return {s.in, (s.width + 2 * s.pw) * s.in, s.kh, (s.kw * s.in + 15) / 16}; }
Plane writing(const ConvShape& s) {
  const int64_t step = s.in > 4 ? 8 : 4;
  return {step, ((s.width + 2 * s.pw) * step + 15) / 16 * 16, s.kh, (s.kw * step + 16 - step + 15) / 16};
}

bool few(const ConvShape& s, const ConvWindows& p, const Plane& plane) {
  return patches_row().pays && s.in <= 8 && p.ph * p.pw >= 4 && s.out > 0 && s.in > 0 && plane.floats(s) <= kMostPlane && p.rows(s) * p.columns(s) >= 4;
}

// What lists need, per call.
struct Windows {
  Scratch memory;
  PatchList list{};
  int64_t count = 0;
  Status make(const char* op, const ConvShape& s, const ConvWindows& p, const Plane& plane) {
    count = p.rows(s) * p.columns(s);
    TERSOR_TRY(memory.reserve(op, 2 * count * 4));
    int32_t *const first = memory.as<int32_t>(), *const base = first + count;
    const int64_t down = s.sh * plane.pitch, right = s.sw * plane.step;
    for (int64_t i = 0; i < p.rows(s); i++)
      for (int64_t j = 0; j < p.columns(s); j++) {
        first[i * p.columns(s) + j] = static_cast<int32_t>(i * p.ph * s.out_w + j * p.pw);
        base[i * p.columns(s) + j] = static_cast<int32_t>(i * p.ph * down + j * p.pw * right);
      }
    list.windows = count, list.ph = p.ph, list.pw = p.pw, list.first = first, list.base = base;
    list.row = static_cast<int32_t>(s.out_w), list.down = static_cast<int32_t>(down), list.right = static_cast<int32_t>(right);
    return {};
  }
  int64_t floats() const { return 2 * (count + 16); }
  PatchList of(const float* value, const int32_t* index, float* room) const {
    PatchList a = list;
    a.value = value, a.index = index, a.values = room, a.at = reinterpret_cast<int32_t*>(room + count + 16);
    return a;
  }
};

void fill_pixels(const PatchesRow& row, const ConvShape& s, const Plane& plane, const float* image, float* to) {
  const int64_t size = s.height * s.width;
  to += plane.inside(s);
  if (s.in > 1 && s.pw == 0) return row.pixels({image, to, size, s.in, size, plane.step});  // a run of all its rows
  for (int64_t y = 0; y < s.height; y++) {
    if (s.in == 1) memcpy(to + y * plane.pitch, image + y * s.width, static_cast<size_t>(s.width) * sizeof(float));
    else row.pixels({image + y * s.width, to + y * plane.pitch, size, s.in, s.width, plane.step});
  }
}

// w[o, c, ky, kx] <-> filters of runs: f(place in the runs, place in w), from `lead` floats on.
template <class F> void each_tap(const ConvShape& s, const Plane& plane, int64_t lead, F f) {
  for (int64_t c = 0; c < s.in; c++)
    for (int64_t ky = 0; ky < s.kh; ky++)
      for (int64_t kx = 0; kx < s.kw; kx++) f(ky * plane.vectors * 16 + lead + kx * plane.step + c, (c * s.kh + ky) * s.kw + kx);
}

Status bad_index(const char* op, const ConvWindows& p) {
  return fail(Code::shape, "%s: index must lie in its window of %lld x %lld positions", op, static_cast<long long>(p.ph), static_cast<long long>(p.pw));
}

enum Seen : int { kGood = 0, kNotFinite = 1, kBadIndex = 2 };

Status finish(const char* op, const ConvWindows& p, int seen, bool* taken) {
  *taken = seen == kGood;
  return seen & kBadIndex ? bad_index(op, p) : Status{};
}

}  // namespace

bool conv_patches_select_pays(const ConvShape& s, const ConvWindows& p) {
  const Plane plane = reading(s);
  return few(s, p, plane) && patch_sizes(plane.rows, plane.vectors) && s.in * s.kh * s.kw >= 64;  // else folding sums costs more than it saves
}
bool conv_patches_grad_input_pays(const ConvShape& s, const ConvWindows& p) {
  const Plane plane = writing(s);
  return few(s, p, plane) && patch_spread_sizes(plane.vectors) && s.in > 2;
}
bool conv_patches_grad_weight_pays(const ConvShape& s, const ConvWindows& p) {
  const Plane plane = reading(s);
  return few(s, p, plane) && patch_sizes(plane.rows, plane.vectors);
}

Status conv_patches_select(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* w, const int32_t* index, float* value,
                           const Cancel* cancel, bool* taken) {
  const PatchesRow& row = patches_row();
  const Plane plane = reading(s);
  const int64_t filter = plane.rows * plane.vectors * 16, depth = s.in * s.kh * s.kw, size = s.in * s.height * s.width;
  *taken = false;
  if (!row.finite(w, s.out * depth)) return {};
  Windows windows;
  Scratch filters;
  ScratchSlots slots;
  TERSOR_TRY(windows.make(op, s, p, plane));
  TERSOR_TRY(filters.reserve(op, s.out * filter * static_cast<int64_t>(sizeof(float))));
  TERSOR_TRY(slots.reserve(op, (plane.floats(s) + windows.floats()) * static_cast<int64_t>(sizeof(float)), s.batch));
  memset(filters.as<float>(), 0, static_cast<size_t>(s.out * filter) * sizeof(float));
  for (int64_t o = 0; o < s.out; o++) each_tap(s, plane, 0, [&](int64_t at, int64_t k) { filters.as<float>()[o * filter + at] = w[o * depth + k]; });
  std::atomic<int> seen{kGood};
  TERSOR_TRY(parallel_for(s.batch, 4, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    float* const pixels = slot.template as<float>();
    float* const room = pixels + plane.floats(s);
    memset(pixels, 0, static_cast<size_t>(plane.floats(s)) * sizeof(float));
    for (int64_t b = begin; b < end; b++) {
      if (!row.finite(x + b * size, size)) seen.fetch_or(kNotFinite);
      fill_pixels(row, s, plane, x + b * size, pixels);
      for (int64_t o = 0; o < s.out; o++) {
        const int64_t at = (b * s.out + o) * windows.count;
        const PatchList list = windows.of(nullptr, index + at, room);
        const int64_t n = row.list(list);
        if (n < 0) seen.fetch_or(kBadIndex);
        else row.dot({pixels, plane.pitch, static_cast<int>(plane.rows), static_cast<int>(plane.vectors), list.at, n, filters.as<float>() + o * filter, value + at});
      }
    }
  }));
  return finish(op, p, seen.load(), taken);
}

Status conv_patches_grad_input(const char* op, const ConvShape& s, const ConvWindows& p, const float* value, const int32_t* index, const float* w, float* dx,
                               const Cancel* cancel, bool* taken) {
  const PatchesRow& row = patches_row();
  const Plane plane = writing(s);
  const int64_t copy = plane.rows * plane.vectors * 16, copies = 16 / plane.step, filter = copies * copy, depth = s.in * s.kh * s.kw;
  const int64_t size = s.height * s.width;
  *taken = false;
  if (!row.finite(w, s.out * depth)) return {};
  Windows windows;
  Scratch memory;
  ScratchSlots slots;
  TERSOR_TRY(windows.make(op, s, p, plane));
  TERSOR_TRY(memory.reserve(op, s.out * filter * static_cast<int64_t>(sizeof(float)) + 64));
  TERSOR_TRY(slots.reserve(op, (plane.floats(s) + windows.floats()) * static_cast<int64_t>(sizeof(float)) + 64, s.batch));
  float* const filters = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.as<char>()) + 63) / 64 * 64);
  memset(filters, 0, static_cast<size_t>(s.out * filter) * sizeof(float));
  for (int64_t o = 0; o < s.out; o++)
    for (int64_t i = 0; i < copies; i++)
      each_tap(s, plane, i * plane.step, [&](int64_t at, int64_t k) { filters[o * filter + i * copy + at] = w[o * depth + k]; });
  std::atomic<int> seen{kGood};
  TERSOR_TRY(parallel_for(s.batch, 4, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    float* const pixels = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(slot.template as<char>()) + 63) / 64 * 64);
    float* const room = pixels + plane.floats(s);
    for (int64_t b = begin; b < end; b++) {
      memset(pixels, 0, static_cast<size_t>(plane.floats(s)) * sizeof(float));
      const int64_t first = b * s.out * windows.count;
      if (!row.finite(value + first, s.out * windows.count)) seen.fetch_or(kNotFinite);
      for (int64_t o = 0; o < s.out; o++) {
        const PatchList list = windows.of(value + first + o * windows.count, index + first + o * windows.count, room);
        const int64_t n = row.list(list);
        if (n < 0) seen.fetch_or(kBadIndex);
        row.spread({pixels, plane.pitch, static_cast<int>(plane.rows), static_cast<int>(plane.vectors), list.at, list.values, n, filters + o * filter, plane.step, copy});
      }
      float* const to = dx + b * s.in * size;
      if (plane.pitch == s.width * plane.step) row.images({pixels + plane.inside(s), to, size, s.in, size, plane.step});
      else
        for (int64_t y = 0; y < s.height; y++) row.images({pixels + plane.inside(s) + y * plane.pitch, to + y * s.width, size, s.in, s.width, plane.step});
    }
  }));
  return finish(op, p, seen.load(), taken);
}

Status conv_patches_grad_weight(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* value, const int32_t* index, float* dw,
                                const Cancel* cancel, bool* taken) {
  const PatchesRow& row = patches_row();
  const Plane plane = reading(s);
  const int64_t filter = plane.rows * plane.vectors * 16, total = s.out * filter, depth = s.in * s.kh * s.kw, size = s.in * s.height * s.width;
  constexpr int64_t kMostPartials = 32;
  const int64_t run = s.batch > 2 * kMostPartials ? (s.batch + kMostPartials - 1) / kMostPartials : 2, partials = (s.batch + run - 1) / run;
  *taken = false;
  Windows windows;
  Scratch sums;
  ScratchSlots slots;
  TERSOR_TRY(windows.make(op, s, p, plane));
  TERSOR_TRY(sums.reserve(op, partials * total * static_cast<int64_t>(sizeof(float))));
  TERSOR_TRY(slots.reserve(op, (plane.floats(s) + windows.floats()) * static_cast<int64_t>(sizeof(float)), partials));
  std::atomic<int> seen{kGood};
  const auto is_cancelled = [&] { return cancel && cancel->load(std::memory_order_relaxed); };
  TERSOR_TRY(parallel_for(partials, 1, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    float* const pixels = slot.template as<float>();
    float* const room = pixels + plane.floats(s);
    memset(pixels, 0, static_cast<size_t>(plane.floats(s)) * sizeof(float));
    for (int64_t part = begin; part < end; part++) {
      float* const sum = sums.as<float>() + part * total;
      memset(sum, 0, static_cast<size_t>(total) * sizeof(float));
      for (int64_t b = part * run; b < s.batch && b < (part + 1) * run; b++) {
        if (is_cancelled()) return;
        const int64_t first = b * s.out * windows.count;
        if (!row.finite(x + b * size, size) || !row.finite(value + first, s.out * windows.count)) seen.fetch_or(kNotFinite);
        fill_pixels(row, s, plane, x + b * size, pixels);
        for (int64_t o = 0; o < s.out; o++) {
          const PatchList list = windows.of(value + first + o * windows.count, index + first + o * windows.count, room);
          const int64_t n = row.list(list);
          if (n < 0) seen.fetch_or(kBadIndex);
          row.sum({pixels, plane.pitch, static_cast<int>(plane.rows), static_cast<int>(plane.vectors), list.at, list.values, n, sum + o * filter});
        }
      }
    }
  }));
  if (is_cancelled()) return fail(Code::aborted, "cancelled");
  TERSOR_TRY(finish(op, p, seen.load(), taken));
  if (!*taken) return {};
  float* const sum = sums.as<float>();
  for (int64_t part = 1; part < partials; part++)
    for (int64_t e = 0; e < total; e++) sum[e] += sum[part * total + e];
  for (int64_t o = 0; o < s.out; o++) each_tap(s, plane, 0, [&](int64_t at, int64_t k) { dw[o * depth + k] = sum[o * filter + at]; });
  return {};
}

}  // namespace tersor
