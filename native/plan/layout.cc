#include "plan/layout.h"

#include <algorithm>
#include <numeric>

namespace tersor {
namespace {

constexpr int64_t kLine = 64;

int64_t room(int64_t bytes) { return (bytes + 2 * kLine - 1) / kLine * kLine; }

}  // namespace

int64_t lay_out(std::vector<Lifetime>& lives) {
  std::vector<size_t> order(lives.size()), placed;
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lives[a].bytes > lives[b].bytes; });
  int64_t total = 0;
  for (const size_t i : order) {
    Lifetime& life = lives[i];
    life.offset = 0;
    if (life.last < life.first) continue;
    const int64_t need = room(life.bytes);
    int64_t at = 0;
    for (const size_t j : placed) {  // by offset: the first gap that is wide enough
      const Lifetime& other = lives[j];
      if (other.last < life.first || other.first > life.last) continue;
      if (other.offset - at >= need) break;
      const int64_t end = other.offset + room(other.bytes);
      if (end > at) at = end;
    }
    life.offset = at;
    if (at + need > total) total = at + need;
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i, [&](size_t a, size_t b) { return lives[a].offset < lives[b].offset; }), i);
  }
  return total;
}

}  // namespace tersor
