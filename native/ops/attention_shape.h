// What attention and its gradient share: sizes, checks, where heads lie, and the blocks of a pass over scores.
#pragma once
#include <cmath>
#include <initializer_list>

#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "kernels/random/random.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {

constexpr int64_t kAttentionRows = 64;    // queries of a block
constexpr int64_t kAttentionKeys = 256;   // keys of a block; a multiple of kRandomGroup
constexpr int64_t kAttentionTasks = 16;   // tasks wanted at least; a number of its own, so that blocks do not depend on the threads

struct AttentionSizes {
  int64_t batch, heads, queries, keys, depth, width;  // B H T S D E
  int64_t row_blocks() const { return (queries + kAttentionRows - 1) / kAttentionRows; }
  int64_t key_block() const { return keys < kAttentionKeys ? (keys + 31) / 32 * 32 : kAttentionKeys; }
  int64_t row_stride() const { return key_block() + 16; }  // of a block of scores: not a power of two, its columns are read too
  // Queries of a task when batch * heads tasks are fewer than `wanted`.
  int64_t task_rows(int64_t wanted = kAttentionTasks) const {
    const int64_t pairs = batch * heads > 0 ? batch * heads : 1, parts = pairs >= wanted ? 1 : (wanted + pairs - 1) / pairs;
    const int64_t blocks = (row_blocks() + parts - 1) / parts;
    return (blocks > 0 ? blocks : 1) * kAttentionRows;
  }
};

struct AttentionTermsRef {
  const TensorRef &q, &k, &v, &mask, &key_mask;
  int64_t heads;
  double scale, dropout;
};
Status attention_sizes(const char* op, const AttentionTermsRef& x, AttentionSizes* n);

// Row t of head h of example b at data + b * batch + h * head + t * row; its elements lie side by side.
template <class T> struct Heads {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;
  T* at(int64_t b, int64_t h, int64_t t) const { return data + b * batch + h * head + t * row; }
};
template <class T> Heads<T> heads_of(const TensorRef& x, int64_t heads, const void* data) {
  T* const at = static_cast<T*>(const_cast<void*>(data));
  if (x.rank == 4) return {at, x.stride[0], x.stride[1], x.stride[2]};
  return {at, x.stride[0], x.shape[2] / heads, x.stride[1]};
}
// An input: where it lies when the elements of a row are neighbours, else a copy.
template <class T> Status open_heads(const char* op, const TensorRef& x, int64_t heads, const Cancel* cancel, Contiguous* hold, Heads<T>* out) {
  if (x.stride[x.rank - 1] == 1 || x.dim(-1) <= 1) {
    *out = heads_of<T>(x, heads, x.data);
    return {};
  }
  TERSOR_TRY(hold->open(op, x, cancel));
  TensorRef copy = x;
  set_shape(copy, x.dtype, x.shape, x.rank);
  *out = heads_of<T>(copy, heads, hold->data());
  return {};
}

// The masks and the dropout of a call.
template <class T> struct AttentionScores {
  const char* op;
  AttentionSizes n;
  T scale;
  bool causal;
  float keep;
  uint64_t seed, stream;
  Heads<const T> mask;
  const T* key_mask = nullptr;
  int64_t key_mask_batch = 0, key_mask_key = 0;

  AttentionScores(const char* where, const AttentionSizes& sizes, double factor, bool is_causal, double dropout, int64_t seed_, int64_t stream_)
      : op(where), n(sizes), scale(static_cast<T>(factor)), causal(is_causal), keep(static_cast<float>(1 - dropout)), seed(static_cast<uint64_t>(seed_)),
        stream(static_cast<uint64_t>(stream_)) {}

  Status open(const TensorRef& mask_ref, const TensorRef& key_mask_ref, const Cancel* cancel) {
    if (key_mask_ref.present()) key_mask = key_mask_ref.as<T>(), key_mask_batch = key_mask_ref.stride[0], key_mask_key = key_mask_ref.stride[1];
    if (!mask_ref.present() || n.keys == 0) return {};
    TensorRef m = mask_ref;
    if (m.rank == 0) m.rank = 1, m.shape[0] = 1, m.stride[0] = 0;
    const int last = m.rank - 1;
    if (m.shape[last] != n.keys) m.shape[last] = n.keys, m.stride[last] = 0;
    if (m.stride[last] != 1 && n.keys > 1) {
      TERSOR_TRY(hold_.open(op, m, cancel));
      set_shape(m, m.dtype, m.shape, m.rank);
      m.data = const_cast<void*>(hold_.data());
    }
    const int64_t shape[4] = {n.batch, n.heads, n.queries, n.keys};
    const TensorRef wide = broadcast_to(m, shape, 4);
    mask = {wide.as<const T>(), wide.stride[0], wide.stride[1], wide.stride[2]};
    return {};
  }
  // Keys that the last of `rows` queries from i0 on sees, counted from j0.
  int64_t columns(int64_t i0, int64_t rows, int64_t j0, int64_t most) const {
    if (!causal) return most;
    const int64_t seen = i0 + rows + n.keys - n.queries - j0;
    return seen < most ? (seen > 0 ? seen : 0) : most;
  }
  void fill_bias(int64_t b, int64_t j0, int64_t columns, T* bias) const {
    for (int64_t j = 0; key_mask && j < columns; j++)
      bias[j] = key_mask[b * key_mask_batch + (j0 + j) * key_mask_key] == T(0) ? static_cast<T>(-INFINITY) : T(0);
  }
  // The block of queries i0.. and keys j0..; `chances` has room for rows * key_block when there is dropout.
  AttentionBlock<T> block(int64_t b, int64_t h, int64_t i0, int64_t rows, int64_t j0, int64_t columns, T* s, const T* bias, float* chances) const {
    AttentionBlock<T> x = {};
    x.s = s, x.rows = rows, x.n = columns, x.ld = n.row_stride();
    x.visible = causal ? i0 + 1 + n.keys - n.queries - j0 : columns;
    x.scale = scale;
    if (key_mask) x.column_bias = bias;
    if (mask.data) x.mask = mask.at(b, h, i0) + j0, x.mask_row = mask.row;
    x.keep = keep;
    if (keep < 1.0f) {
      const int64_t wide = (n.keys + kRandomGroup - 1) / kRandomGroup * kRandomGroup;
      for (int64_t r = 0; r < rows; r++)
        random(RandomArgs{chances + r * n.key_block(), (((b * n.heads + h) * n.queries) + i0 + r) * wide + j0, columns, seed, stream, false});
      x.uniform = chances, x.uniform_row = n.key_block();
    }
    return x;
  }

 private:
  Contiguous hold_;
};

// A product of blocks in cache; `b` are panels of `depth` rows.
template <class T> struct BlockProduct {
  const GemmRow<T>& row;
  void run(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t depth, T* c, int64_t c_row, bool accumulate) const {
    GemmStrip<T> s;
    s.m = static_cast<int>(m), s.n = n, s.k = k;
    s.a = a, s.a_row = a_row, s.a_col = a_col;
    s.b = b, s.b_row = row.nr, s.b_panel = depth * row.nr;
    s.c = c, s.c_row = c_row, s.accumulate = accumulate;
    row.strip(s);
  }
  int64_t elements(int64_t depth, int64_t columns) const { return gemm_packed_elements(row, depth, columns); }
  // Panels of B[k, n] = rows of x, or of its transpose.
  void pack(const T* x, int64_t x_row, int64_t k, int64_t n, bool transposed, T* out) const {
    GemmMatrix<T> g;
    g.k = k, g.n = n, g.b = x, g.b_row = transposed ? 1 : x_row, g.b_col = transposed ? x_row : 1;
    gemm_pack_b(row, g, 0, gemm_panels(row, n), out);
  }
};

template <class T> void zero_rows(T* x, int64_t row, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < n; j++) x[r * row + j] = T(0);
}

}  // namespace tersor
