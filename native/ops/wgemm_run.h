// What the ops on weight-only quantized weights share: checks of the packed form, and unpacking by parts.
#pragma once
#include "kernels/wgemm/wgemm.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {

// Dtype, rank, sizes; touches no data.
Status wgemm_check_packed(const char* op, const TensorRef& packed, int64_t out, int64_t k);
// The header against out and k; ERR_OPTION when the blob is something else.
Status wgemm_open(const char* op, const TensorRef& packed, int64_t out, int64_t k, WgemmShape* s);

// Values of k that are unpacked at a time: whole groups or a part of one, at most 256 (or one group shorter than that).
inline int64_t wgemm_part(const WgemmShape& s) {
  constexpr int64_t kDepth = 256;
  const int64_t group = s.group();
  if (group >= kDepth || s.k == 0) return kDepth;
  return kDepth / group * group;
}
// Length of the part that begins at k < K (a sum of earlier parts).
inline int64_t wgemm_part_at(const WgemmShape& s, int64_t k) {
  const int64_t whole = wgemm_part(s), left = s.group() > whole ? s.group() - k % s.group() : s.k - k;
  return whole < left ? whole : left;
}
// Unpacks that part of one panel: out[i * out_row + j] = w[panel * nr + j, k + i].
inline void wgemm_unpack_part(const WgemmRow& row, const WgemmShape& s, const void* blob, int64_t panel, int64_t k, float* out, int64_t out_row) {
  WgemmUnpack u;
  u.shape = &s, u.panel = wgemm_blob_panels(blob) + panel * row.panel_bytes(s);
  u.group = k / s.group(), u.step = k % s.group() / kWgemmStep, u.count = wgemm_part_at(s, k);
  u.out = out, u.out_row = out_row;
  row.unpack(u);
}

}  // namespace tersor
