// What the quantized ops share: packing in parallel, checks of scales, and products of quantized rows.
#pragma once
#include "kernels/qgemm/qgemm.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {

// A, as the rows read it: u8 codes, a_row bytes apart, readable up to the layout's depth behind each row's start.
struct QgemmCodes {
  const void* a;
  int64_t a_row;
  bool a_signed;
};

// ERR_LIMIT when k is too deep for the column sums of a packed weight.
Status qgemm_check_depth(const char* op, int64_t k);
// Packs w[n,k] (rows w_row apart) into blob, header included.
Status qgemm_pack_parallel(const char* op, const int8_t* w, int64_t w_row, int64_t n, int64_t k, void* blob, const Cancel* cancel);
// w_scale f32 [1] or [n], bias f32 [n] or absent; touches no data.
Status qgemm_check_scales(const char* op, const TensorRef& w_scale, const TensorRef& bias, int64_t n);
// A scale as f32: positive, normal and finite.
Status qgemm_check_scale(const char* op, const char* name, double scale);
Status qgemm_check_blob(const char* op, const TensorRef& packed, int64_t n, int64_t k);
// scale[i] = float(x_scale) * w_scale[i or 0]
Status qgemm_scales(const char* op, const TensorRef& w_scale, int64_t n, double x_scale, Scratch* out);
// The values of k that a product covers: all, or a chunk that starts at a multiple of the layout's k_pad.
struct QgemmDepth {
  int64_t first, count;
};

// Rows [m0, m1) times columns [n0, n1) of the blob of a weight [., k]; n0 is a multiple of the layout's nr. `codes` is that of row m0.
void qgemm_part(const QgemmCodes& codes, int64_t m0, int64_t m1, const void* blob, int64_t n0, int64_t n1, int64_t k, QgemmDepth depth, const QgemmFinish& f);
// Makes rows [begin, end) of A and what the finish reads of them. Without `run` there is nothing to make.
struct QgemmPrepare {
  void (*run)(void* state, int64_t begin, int64_t end) = nullptr;
  void* state = nullptr;
  int64_t grain = 1;  // rows that are made at a time: some microseconds of work
};
// All rows and columns, on several threads. The rows of a block are made by the threads that multiply them, each row once, in the same parallel region.
Status qgemm_parallel(const char* op, const QgemmCodes& codes, int64_t m, const void* blob, int64_t n, int64_t k, QgemmDepth depth, const QgemmFinish& f,
                      const Cancel* cancel, const QgemmPrepare& prepare = {});

}  // namespace tersor
