// One call of an op as the tensor layer makes it: infer, memory for the results, cpu. Results lie behind canaries.
#pragma once
#include <memory>

#include "cpu/threads.h"
#include "ops/args.h"
#include "test/test.h"

namespace tersor {
namespace test {

// Calls f with each result of an op, in the order of its row.
#define T(n)
#define O(n)
#define M(n)
#define R(n) f(args.n);
#define I(n)
#define F(n)
#define B(n)
#define L(n)
#define D(n)
#define E(e, n)
#define OP(name, fields)                                                                                  \
  template <class Each> void each_result(name##_args& args, const Each& f) {                              \
    (void)args, (void)f;                                                                                  \
    fields                                                                                                \
  }
#include "ops/ops.def"

template <class Args> struct OpCall {
  Args args{};
  const Cancel* cancel = nullptr;

  Status run(Status (*infer)(Args&), Status (*cpu)(Args&, Context&)) {
    TERSOR_TRY(infer(args));
    memory.clear();
    each_result(args, [this](TensorRef& t) {
      const int64_t bytes = t.bytes();
      Block block{std::unique_ptr<unsigned char[]>(new unsigned char[static_cast<size_t>(bytes) + kCanary]), bytes};
      memset(block.data.get(), 0xCD, static_cast<size_t>(bytes) + kCanary);
      t.data = block.data.get();
      memory.push_back(std::move(block));
    });
    Context context;
    context.cancel = cancel;
    const Status status = cpu(args, context);
    for (const Block& block : memory)
      for (int i = 0; i < kCanary; i++) CHECK_MSG(block.data[block.bytes + i] == 0xCD, "an op wrote behind its result");
    return status;
  }

 private:
  static constexpr int kCanary = 64;
  struct Block {
    std::unique_ptr<unsigned char[]> data;
    int64_t bytes;
  };
  std::vector<Block> memory;
};
#define RUN_OP(call, op) (call).run(op##_infer, op##_cpu)
// The op must fail with this code.
#define CHECK_CODE(status, expected)                                                                                        \
  do {                                                                                                                      \
    const auto& check_status = (status);                                                                                    \
    CHECK_MSG(check_status.code == (expected), "got %s \"%s\"", code_name(check_status.code), check_status.message);        \
  } while (0)

// A row-major view of a vector.
template <class T> TensorRef view(DType dtype, const std::vector<T>& values, std::initializer_list<int64_t> shape) {
  TensorRef t{};
  set_shape(t, dtype, shape.begin(), static_cast<int>(shape.size()));
  static T none{};
  t.data = const_cast<T*>(values.empty() ? &none : values.data());
  return t;
}

inline IntList list(std::initializer_list<int64_t> values) {
  IntList l{};
  for (int64_t v : values) l.v[l.n++] = v;
  return l;
}

// Runs `body` with 1, 2, 3 and 7 threads.
template <class F> void for_thread_counts(F body) {
  const int before = thread_count();
  for (int n : {1, 2, 3, 7}) {
    CHECK_OK(set_thread_count(n));
    body();
  }
  CHECK_OK(set_thread_count(before));
}

inline float random_float(float lo, float hi) { return std::uniform_real_distribution<float>(lo, hi)(rng()); }
inline int64_t random_int(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng()); }

}  // namespace test
}  // namespace tersor
