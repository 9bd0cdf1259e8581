// random_uniform(shape, seed, stream) -> f32 in [0, 1); random_normal -> mean 0, variance 1. A value depends on (seed, stream, position) only:
// the same numbers for any thread count, instruction set and device. Layout of the stream: kernels/random/random.h.
#include "kernels/random/random.h"
#include "ops/shape_list.h"

namespace tersor {
namespace {

Status fill(TensorRef& y, int64_t seed, int64_t stream, bool normal, const Cancel* cancel) {
  float* out = y.as<float>();
  return parallel_for(y.size(), kRandomGroup * 64, cancel, [&](int64_t begin, int64_t end) {
    random(RandomArgs{out + begin, begin, end - begin, static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), normal});
  });
}

}  // namespace

Status random_uniform_infer(random_uniform_args& a) { return shape_from_list("random_uniform", "shape", a.shape, DType::f32, a.y); }
Status random_uniform_cpu(random_uniform_args& a, Context& ctx) { return fill(a.y, a.seed, a.stream, false, ctx.cancel); }
Status random_normal_infer(random_normal_args& a) { return shape_from_list("random_normal", "shape", a.shape, DType::f32, a.y); }
Status random_normal_cpu(random_normal_args& a, Context& ctx) { return fill(a.y, a.seed, a.stream, true, ctx.cancel); }

}  // namespace tersor
