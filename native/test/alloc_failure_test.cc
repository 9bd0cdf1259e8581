// Each allocation of an op is made to fail in turn: the op must give the typed error and hand everything back.
#include "base/alloc.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

// `run` is called with the 1st, 2nd, ... allocation failing, until it succeeds. At least `expected` of them must exist.
template <class F> void fail_each_allocation(const char* op, int expected, F run) {
  const MemoryStats before = memory_stats();
  for (int n = 1; n < 100; n++) {
    fail_allocation_after(n);
    const Status s = run();
    fail_allocation_after(0);
    CHECK_MSG(memory_stats().blocks == before.blocks && memory_stats().bytes == before.bytes, "%s: blocks left after failure %d", op, n);
    if (s.ok()) {
      CHECK_MSG(n > expected, "%s: only %d allocations", op, n - 1);
      return;
    }
    CHECK_MSG(s.code == Code::memory_budget && strstr(s.message, op), "%s: got %s \"%s\"", op, code_name(s.code), s.message);
  }
  CHECK_MSG(false, "%s: never succeeds", op);
}

TensorRef transposed(TensorRef t) {
  std::swap(t.shape[0], t.shape[1]);
  std::swap(t.stride[0], t.stride[1]);
  return t;
}

TERSOR_TEST(ops_survive_the_failure_of_any_allocation) {
  std::vector<float> x(700 * 300);
  for (auto& v : x) v = random_float(-1, 1);
  std::vector<int32_t> index(600);
  for (auto& v : index) v = static_cast<int32_t>(random_int(0, 299));
  const TensorRef matrix = view(DType::f32, x, {700, 300});
  const TensorRef columns = transposed(view(DType::i32, index, {20, 30}));  // [30, 20], strided

  fail_each_allocation("gather", 2, [&] {
    OpCall<gather_args> c;
    c.args.table = transposed(matrix), c.args.index = columns;
    return RUN_OP(c, gather);
  });
  fail_each_allocation("scatter_add", 2, [&] {
    OpCall<scatter_add_args> c;
    c.args.dy = matrix, c.args.dy.shape[0] = 30, c.args.dy.shape[1] = 20, c.args.index = columns, c.args.rows = 300;
    return RUN_OP(c, scatter_add);
  });
  fail_each_allocation("topk_mask", 3, [&] {
    OpCall<topk_mask_args> c;
    c.args.scores = transposed(matrix), c.args.k = 20000;
    return RUN_OP(c, topk_mask);
  });
  fail_each_allocation("topk_mask", 2, [&] {
    OpCall<topk_mask_args> c;
    c.args.scores = view(DType::f32, x, {3000}), c.args.k = 100;
    return RUN_OP(c, topk_mask);
  });
  fail_each_allocation("histogram", 2, [&] {
    OpCall<histogram_args> c;
    c.args.x = transposed(matrix), c.args.lo = -1, c.args.hi = 1, c.args.bins = 100;
    return RUN_OP(c, histogram);
  });
  fail_each_allocation("range_rows", 1, [&] {
    OpCall<range_rows_args> c;
    c.args.x = transposed(matrix), c.args.groups = 7;
    return RUN_OP(c, range_rows);
  });
  std::vector<int8_t> q(600);
  for (size_t i = 0; i < q.size(); i += 9) q[i] = 5;
  fail_each_allocation("sparse_encode", 2, [&] {
    OpCall<sparse_encode_args> c;
    c.args.q = transposed(view(DType::i8, q, {20, 30}));
    return RUN_OP(c, sparse_encode);
  });
  fail_each_allocation("cross_entropy", 1, [&] {
    OpCall<cross_entropy_args> c;
    c.args.logits = transposed(matrix), c.args.labels = view(DType::i32, index, {300});
    return RUN_OP(c, cross_entropy);
  });
}

}  // namespace
}  // namespace test
}  // namespace tersor
