// dual_linear (contract: ops/dual_linear.cc): the little product everywhere, then the exact product where an output is sensitive.
#include "cuda/dual_run.h"
#include "cuda/kernels.h"

namespace tersor {
namespace cuda {

Status dual_linear_cuda(Stream& s, dual_linear_args& a) {
  const int64_t n = a.w.shape[0], m = a.count.shape[0];
  if (m == 0) return {};
  TERSOR_TRY(s.fill(a.count.data, 0, m * 4));
  if (n == 0) return {};
  const float *x, *bias, *threshold;
  TERSOR_TRY(open(s, a.x, &x));
  TERSOR_TRY(open(s, a.bias, &bias));
  TERSOR_TRY(open(s, a.threshold, &threshold));
  float* const y = a.y.as<float>();
  if (a.insensitive != 0) {
    DualLittle little;
    TERSOR_TRY(little.open(s, "dual_linear: projection", a.projection, a.little, a.k, a.copies, n, a.w.shape[1]));
    TERSOR_TRY(little.run(s, x, m, bias, y));
  }
  DualLists lists;
  TERSOR_TRY(lists.open(s, m, n));
  DualChoice choice;
  choice.rule = {a.insensitive, a.below, threshold, n};
  choice.y = y, choice.y_row = choice.rows = n, choice.answered = a.count.as<int32_t>();
  TERSOR_TRY(dual_select(s, choice, lists));
  DualExact exact;
  TERSOR_TRY(exact.parts[0].open(s, a.w, a.scale));
  exact.parts[0].x = x;
  exact.sinks[0].y = y, exact.sinks[0].y_row = n, exact.sinks[0].first = 0, exact.sinks[0].add[0] = bias;
  return dual_exact(s, exact, lists);
}

}  // namespace cuda
}  // namespace tersor
