// Layout of temporaries: what lives at the same time shares no byte, and the block is no larger than what lives at once needs at most.
#include "plan/layout.h"
#include "test/test.h"

namespace tersor {
namespace {

using test::rng;

TERSOR_TEST(plan_layout_keeps_the_living_apart) {
  for (int round = 0; round < 200; round++) {
    std::vector<Lifetime> lives(1 + rng()() % 40);
    int64_t together = 0;
    for (Lifetime& life : lives) {
      const int first = static_cast<int>(rng()() % 30), length = static_cast<int>(rng()() % 8);
      life = {static_cast<int64_t>(rng()() % 100000), first, rng()() % 10 == 0 ? first - 1 : first + length, 0};
      together += life.last < life.first ? 0 : life.bytes + 128;
    }
    const int64_t total = lay_out(lives);
    CHECK(total <= together);
    for (size_t i = 0; i < lives.size(); i++) {
      const Lifetime& a = lives[i];
      if (a.last < a.first) continue;
      CHECK(a.offset % 64 == 0 && a.offset >= 0 && a.offset + a.bytes + 64 <= total);
      for (size_t j = 0; j < i; j++) {
        const Lifetime& b = lives[j];
        if (b.last < b.first || b.last < a.first || a.last < b.first) continue;
        CHECK(a.offset + a.bytes + 64 <= b.offset || b.offset + b.bytes + 64 <= a.offset);
      }
    }
  }
}

TERSOR_TEST(plan_layout_of_a_chain_is_two_tensors) {
  std::vector<Lifetime> lives;
  for (int i = 0; i < 50; i++) lives.push_back({4096, i, i + 1, 0});
  CHECK(lay_out(lives) == 2 * (4096 + 64));
  std::vector<Lifetime> none;
  CHECK(lay_out(none) == 0);
}

}  // namespace
}  // namespace tersor
