// Sparse weights as files hold them: CSR and blocks of it with any offsets and columns.
#include "test/fuzz/input.h"

using namespace tersor;

namespace {

void csr(fuzz::Input& in, DType values, DType columns) {
  fuzz::Tensors tensors;
  const int64_t rows = in.below(20), n = in.below(64);
  csr_to_dense_args a{};
  a.cols = in.dimension();
  a.indptr = tensors.take(in, DType::i32, {rows + 1});
  a.columns = tensors.take(in, columns, {n});
  a.values = tensors.take(in, values, {n});
  if (!fuzz::run(tensors, a, a.w, csr_to_dense_infer, csr_to_dense_cpu)) return;
  // What was accepted has each value in its place.
  const int32_t* p = a.indptr.as<int32_t>();
  for (int64_t r = 0; r < rows; r++)
    for (int64_t e = p[r]; e < p[r + 1]; e++) {
      const int64_t c = columns == DType::i32 ? a.columns.as<int32_t>()[e] : a.columns.as<uint16_t>()[e];
      const size_t size = values == DType::f32 ? 4 : 1;
      const unsigned char* w = static_cast<const unsigned char*>(a.w.data) + static_cast<size_t>(r * a.cols + c) * size;
      if (memcmp(w, static_cast<const unsigned char*>(a.values.data) + static_cast<size_t>(e) * size, size) != 0) abort();
    }
}

// Sizes of blocks as the two formats have them, and others; offsets and columns that often fit.
void bsr(fuzz::Input& in, DType values) {
  fuzz::Tensors tensors;
  const int64_t n = in.below(8), rows = in.below(12);
  bsr_to_dense_args a{};
  a.rows = in.dimension();
  a.cols = in.dimension();
  a.block_rows = int64_t(1) << in.below(6);
  a.block_cols = in.below(4) ? 16 / a.block_rows : in.dimension();
  a.indptr = tensors.take(in, DType::i32, {rows + 1});
  a.columns = tensors.take(in, DType::u16, {n});
  a.values = in.below(2) ? tensors.take(in, values, {n, 16}) : tensors.take(in, values, {n, a.block_rows, 16 / (a.block_rows < 16 ? a.block_rows : 16)});
  fuzz::run(tensors, a, a.w, bsr_to_dense_infer, bsr_to_dense_cpu);
}

}  // namespace

TERSOR_FUZZ_TARGET(sparse_rows) {
  fuzz::Input in(data, size);
  const uint8_t kind = in.take<uint8_t>();
  const DType values = kind & 1 ? DType::f32 : DType::i8;
  if (kind & 4) bsr(in, values);
  else csr(in, values, kind & 2 ? DType::i32 : DType::u16);
  return 0;
}
