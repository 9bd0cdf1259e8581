// Offsets from counts, and what kernels found wrong with data.
#pragma once
#include "cuda/launch.h"

namespace tersor {
namespace cuda {

// offsets[i] = counts[0] + .. + counts[i - 1] for i <= n; n + 1 of them; counts may be the same memory. Sums below 2^31.
Status offsets_from_counts(Stream& s, const int32_t* counts, int64_t n, int32_t* offsets);

// The first place at which a kernel found something wrong, asked for by the host within the call, which waits for the queue: for ops that wait anyway or that
// are not part of training and running. Others use RuleCheck.
struct Verdict {
  static constexpr unsigned long long kNone = ~0ull;
  unsigned long long* place = nullptr;

  Status open(Stream& s) {
    TERSOR_TRY(s.scratch(1, &place));
    return s.fill(place, 0xFF, sizeof *place);
  }
  // kNone: nothing.
  Status read(Stream& s, unsigned long long* first) const { return s.download(first, place, sizeof *first); }
};
__device__ inline void report(unsigned long long* place, int64_t at) { atomicMin(place, static_cast<unsigned long long>(at)); }

// A rule about values: a kernel reports the first position that breaks it, and the next synchronize or download fails with `rule` and the position.
struct RuleCheck {
  unsigned long long* at = nullptr;
  unsigned long long ticket = 0;

  // rule lives forever: a literal, "quantize_rows: x must not be NaN".
  Status open(Stream& s, Code code, const char* rule) { return s.check_rule(code, rule, &at, &ticket); }
  __device__ void report(int64_t position) const { atomicMin(at, ticket | static_cast<unsigned long long>(position)); }
};

}  // namespace cuda
}  // namespace tersor
