// axpby, written once over the vector in scope.
#pragma once
#include "kernels/blas1/blas1.h"
#include "simd/vec_common.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

template <class V> void axpby_run(typename V::element* y, const typename V::element* x, int64_t n, typename V::element alpha, typename V::element beta) {
  const V va(alpha), vb(beta);
  int64_t i = 0;
  if (beta == 0) {
    for (; i + V::lanes <= n; i += V::lanes) simd::store(y + i, va * simd::load(x + i));
    if (i < n) simd::store_part(y + i, va * simd::load_part(x + i, n - i), n - i);
    return;
  }
  for (; i + V::lanes <= n; i += V::lanes) simd::store(y + i, fma(va, simd::load(x + i), vb * simd::load(y + i)));
  if (i < n) simd::store_part(y + i, fma(va, simd::load_part(x + i, n - i), vb * simd::load_part(y + i, n - i)), n - i);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
