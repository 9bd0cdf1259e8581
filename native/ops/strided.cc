#include "ops/strided.h"

#include <cstring>

namespace tersor {
namespace {

// Dimensions sorted by the destination's stride (largest first), neighbours merged; size-one dimensions dropped.
struct Walk {
  int64_t shape[kMaxRank], from[kMaxRank], to[kMaxRank];
  int rank = 0;
};

Walk make_walk(const TensorRef& src, const TensorRef& dst) {
  Walk w;
  for (int i = 0; i < src.rank; i++) {
    if (src.shape[i] == 1) continue;
    int at = w.rank++;
    for (; at > 0 && w.to[at - 1] < dst.stride[i]; at--) {
      w.shape[at] = w.shape[at - 1];
      w.from[at] = w.from[at - 1];
      w.to[at] = w.to[at - 1];
    }
    w.shape[at] = src.shape[i];
    w.from[at] = src.stride[i];
    w.to[at] = dst.stride[i];
  }
  int n = 0;
  for (int i = 0; i < w.rank; i++) {
    if (n > 0 && w.from[n - 1] == w.from[i] * w.shape[i] && w.to[n - 1] == w.to[i] * w.shape[i]) {
      w.shape[n - 1] *= w.shape[i];
    } else {
      w.shape[n] = w.shape[i];
      n++;
    }
    w.from[n - 1] = w.from[i];
    w.to[n - 1] = w.to[i];
  }
  w.rank = n;
  return w;
}

void offsets(const Walk& w, int dims, int64_t index, int64_t* from, int64_t* to) {
  *from = *to = 0;
  for (int i = dims - 1; i >= 0; i--) {
    *from += index % w.shape[i] * w.from[i];
    *to += index % w.shape[i] * w.to[i];
    index /= w.shape[i];
  }
}

// The source may stand at any address.
template <class T> T load(const T* from) {
  T v;
  memcpy(&v, static_cast<const void*>(from), sizeof v);
  return v;
}

template <class T> void copy_run(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t n) {
  if (from_step == 1 && to_step == 1) {
    memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < n; i++) to[i * to_step] = load(from + i * from_step);
}

// height x width elements; the source runs along the rows' dimension, a cache line at a time: each line is read once, whatever the distance
// between columns (powers of two make lines of neighbouring columns evict each other).
template <class T> void transpose_tile(const T* from, int64_t from_step, T* to, int64_t row_to, int64_t to_step, int64_t height, int64_t width) {
  constexpr int64_t tile = 64 / static_cast<int64_t>(sizeof(T));
  T block[tile][tile];
  if (height == tile && width == tile) {
    for (int64_t c = 0; c < tile; c++) memcpy(block[c], from + c * from_step, sizeof block[c]);
    for (int64_t r = 0; r < tile; r++)
      for (int64_t c = 0; c < tile; c++) to[r * row_to + c * to_step] = block[c][r];
    return;
  }
  for (int64_t c = 0; c < width; c++)
    for (int64_t r = 0; r < height; r++) to[r * row_to + c * to_step] = load(from + c * from_step + r);
}

template <class T> Status copy_typed(Walk w, const T* from, T* to, const Cancel* cancel) {
  if (w.rank == 0) {
    *to = load(from);
    return {};
  }
  // Where the source runs along another dimension than the destination, move that dimension next to the innermost one and go in tiles.
  int across = -1;
  if (w.from[w.rank - 1] != 1)
    for (int i = 0; i < w.rank - 1; i++)
      if (w.from[i] == 1) across = i;
  if (across >= 0) {
    const int64_t n = w.shape[across], f = w.from[across], t = w.to[across];
    for (int i = across; i < w.rank - 2; i++) {
      w.shape[i] = w.shape[i + 1];
      w.from[i] = w.from[i + 1];
      w.to[i] = w.to[i + 1];
    }
    w.shape[w.rank - 2] = n;
    w.from[w.rank - 2] = f;
    w.to[w.rank - 2] = t;
  }
  const int outer = w.rank - (across >= 0 ? 2 : 1);
  const int64_t cols = w.shape[w.rank - 1], from_step = w.from[w.rank - 1], to_step = w.to[w.rank - 1];
  int64_t count = 1;
  for (int i = 0; i < outer; i++) count *= w.shape[i];
  if (across < 0) {
    const int64_t piece = int64_t(1) << 15, pieces = (cols + piece - 1) / piece;
    return parallel_for(count * pieces, grain_for(cols < piece ? cols : piece), cancel, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        int64_t f, t;
        offsets(w, outer, i / pieces, &f, &t);
        const int64_t first = i % pieces * piece, n = cols - first < piece ? cols - first : piece;
        copy_run(from + f + first * from_step, from_step, to + t + first * to_step, to_step, n);
      }
    });
  }
  constexpr int64_t tile = 64 / static_cast<int64_t>(sizeof(T));
  const int64_t rows = w.shape[outer], row_to = w.to[outer], bands = (rows + tile - 1) / tile;
  return parallel_for(count * bands, grain_for(tile * cols), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      int64_t f, t;
      offsets(w, outer, i / bands, &f, &t);
      const int64_t r0 = i % bands * tile, height = rows - r0 < tile ? rows - r0 : tile;
      for (int64_t c0 = 0; c0 < cols; c0 += tile)
        transpose_tile(from + f + r0 + c0 * from_step, from_step, to + t + r0 * row_to + c0 * to_step, row_to, to_step, height, cols - c0 < tile ? cols - c0 : tile);
    }
  });
}

}  // namespace

Status strided_copy(const TensorRef& src, const TensorRef& dst, const Cancel* cancel) {
  if (src.size() == 0) return {};
  const Walk w = make_walk(src, dst);
  switch (dtype_bytes(src.dtype)) {
    case 8: return copy_typed(w, src.as<uint64_t>(), dst.as<uint64_t>(), cancel);
    case 4: return copy_typed(w, src.as<uint32_t>(), dst.as<uint32_t>(), cancel);
    case 2: return copy_typed(w, src.as<uint16_t>(), dst.as<uint16_t>(), cancel);
    default: return copy_typed(w, src.as<uint8_t>(), dst.as<uint8_t>(), cancel);
  }
}

}  // namespace tersor
