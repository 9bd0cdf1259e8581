// x / scale to the code that it rounds to, over the vector in scope: the bits of a division, in multiply-adds. A division of 16 lanes takes 16 cycles, as much as
// 16 of those. Not guarded: each ISA file includes it once, behind its simd/vec_<isa>.h.
//
// Law (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990, theorem 5; Muller et al., Handbook of Floating-Point
// Arithmetic, 2nd ed., section 4.7): with the reciprocal correctly rounded and q within one ulp of a / b, q + (a - q b) / b by two multiply-adds is a / b correctly
// rounded. The first step brings q within one ulp, the second one is the theorem's. Remainders must not underflow: scales beyond 2^+-60 are divided by.

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

class Quotient {
 public:
  // Codes of [0, 255] around zero; scale is positive and finite.
  TERSOR_VEC_INLINE Quotient(float scale, int32_t zero)
      : divides_(divides(scale)),
        scale_(scale),
        minus_(-scale),
        inverse_(1.0f / scale),
        most_(1024.0f * scale),
        least_(static_cast<float>(-zero)),
        largest_(static_cast<float>(255 - zero)) {}
  // round_half_even(x / scale) within the codes, less zero; 0 for NaN.
  TERSOR_VEC_INLINE simd::I32 of(simd::F32 x) const {
    simd::F32 q = divides_ ? x / scale_ : divided(simd::max(-most_, simd::min(most_, x)));  // what lies beyond is clamped below; a NaN stays one
    q = simd::select(simd::is_nan(q), simd::F32(0.0f), q);
    return simd::to_int(simd::max(least_, simd::min(largest_, q)));
  }
  // The same of numbers whose quotient is below 2^120, where scale is within 2^+-60.
  TERSOR_VEC_INLINE simd::I32 of_tame(simd::F32 x) const { return simd::to_int(simd::max(least_, simd::min(largest_, divided(x)))); }
  static bool divides(float scale) { return !(scale >= 8.67361738e-19f && scale <= 1.15292150e18f); }

 private:
  TERSOR_VEC_INLINE simd::F32 divided(simd::F32 a) const {
    simd::F32 q = a * inverse_;
    q = simd::fma(simd::fma(q, minus_, a), inverse_, q);
    return simd::fma(simd::fma(q, minus_, a), inverse_, q);
  }
  bool divides_;
  simd::F32 scale_, minus_, inverse_, most_, least_, largest_;
};

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
