// The code of pruned and quantized weights on disk (codecs/sparse_code.h): any bytes for any shape, and back again where they are a code.
#include "codecs/sparse_code.h"
#include "test/fuzz/input.h"

using namespace tersor;

TERSOR_FUZZ_TARGET(sparse_code) {
  fuzz::Input in(data, size);
  fuzz::Tensors tensors;
  const bool own = in.take<uint8_t>() & 1;  // a matrix that is coded first, then damaged in one place
  sparse_decode_args a{};
  a.shape.n = 2;
  a.shape.v[0] = in.dimension();
  a.shape.v[1] = in.dimension();
  std::vector<uint8_t> code;
  if (own && a.shape.v[0] >= 0 && a.shape.v[1] >= 0 && a.shape.v[0] <= 64 && a.shape.v[1] <= 64) {
    const int64_t rows = a.shape.v[0], cols = a.shape.v[1];
    std::vector<int8_t> q(static_cast<size_t>(rows * cols));
    for (int8_t& v : q) v = in.take<uint8_t>() < 128 ? int8_t(0) : in.take<int8_t>();
    std::vector<int64_t> workspace(static_cast<size_t>(sparse_code_workspace(cols)) / 8 + 1);
    code.resize(static_cast<size_t>(sparse_code_bound(rows, cols)));
    int64_t bytes = 0;
    if (sparse_code_encode(q.data(), rows, cols, workspace.data(), nullptr, code.data(), &bytes).code != Code::ok) abort();
    code.resize(static_cast<size_t>(bytes));
    std::vector<int8_t> back(q.size());
    if (sparse_code_decode(code.data(), bytes, rows, cols, workspace.data(), nullptr, back.data()).code != Code::ok || back != q) abort();
    code[static_cast<size_t>(in.below(bytes))] ^= in.take<uint8_t>();
  } else {
    code.resize(in.left());
    for (uint8_t& v : code) v = in.take<uint8_t>();
  }
  fuzz::Input bytes(code.data(), code.size());
  a.code = tensors.take(bytes, DType::u8, {static_cast<int64_t>(code.size())});
  fuzz::run(tensors, a, a.q, sparse_decode_infer, sparse_decode_cpu);
  return 0;
}
