// one_hot(labels i32 [...], classes) -> f32 [..., classes]: 1 at the label, 0 elsewhere. A label outside [0, classes) is an error.
#include <cstring>

#include "ops/index_check.h"
#include "ops/shape_list.h"

namespace tersor {

Status one_hot_infer(one_hot_args& a) {
  TERSOR_TRY(expect_dtype("one_hot", "labels", a.labels, DType::i32));
  if (a.classes < 1) return fail(Code::option, "one_hot: classes must be >= 1, got %lld", static_cast<long long>(a.classes));
  if (a.labels.rank == kMaxRank) return fail(Code::shape, "one_hot: the result would have rank %d (labels: %s)", kMaxRank + 1, TERSOR_TEXT(a.labels));
  IntList shape;
  shape.n = a.labels.rank + 1;
  for (int i = 0; i < a.labels.rank; i++) shape.v[i] = a.labels.shape[i];
  shape.v[a.labels.rank] = a.classes;
  return shape_from_list("one_hot", "y", shape, DType::f32, a.y);
}

Status one_hot_cpu(one_hot_args& a, Context& ctx) {
  Contiguous open;
  TERSOR_TRY(open.open("one_hot", a.labels, ctx.cancel));
  const int32_t* labels = open.as<int32_t>();
  const int64_t n = a.labels.size(), classes = a.classes;
  int64_t bad;
  TERSOR_TRY(find_bad_index(labels, n, classes, ctx.cancel, &bad));
  if (bad != n)
    return fail(Code::shape, "one_hot: labels must be in [0, %lld), got %d at position %lld", static_cast<long long>(classes), labels[bad],
                static_cast<long long>(bad));
  float* y = a.y.as<float>();
  return parallel_for(n, grain_for(classes), ctx.cancel, [&](int64_t begin, int64_t end) {
    memset(y + begin * classes, 0, static_cast<size_t>((end - begin) * classes) * sizeof(float));
    for (int64_t i = begin; i < end; i++) y[i * classes + labels[i]] = 1.0f;
  });
}

}  // namespace tersor
