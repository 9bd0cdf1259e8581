#include "cuda/device.h"
#include "cuda/product.h"
#include "cuda/emulate/hopper.h"

#include <vector>

namespace tersor {
namespace emulate {
namespace {

struct Box {
  unsigned char* to;
  const cuda::TensorMap* map;
  Phase* barrier;
  int byte, row;
};
struct Issued {
  WarpProduct product;
  int group;
};
struct Thread {
  std::vector<Issued> products;
  int group = 0;
};
struct Named {
  int count = 0;
  unsigned generation = 0;
};

std::vector<Box> boxes;  // on their way
Thread threads[kMaxThreads];
Named named[16];
uint64_t random_state = 88172645463325252ull;

int pick(size_t n) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  return static_cast<int>(random_state % n);
}

void settle(Phase* b) {
  if (b->pending != 0 || b->bytes != 0) return;
  b->parity ^= 1;
  b->pending = b->arrivals;
}

// 16-byte pieces change places by the three bits of the address above them: rows of 128 bytes in groups of eight, 1024 bytes each.
uint64_t swizzled(uint64_t address) { return address ^ ((address >> 7 & 7) << 4); }

void arrive(const Box& box) {
  const cuda::TensorMap& m = *box.map;
  for (int r = 0; r < m.box_rows; r++)
    for (int i = 0; i < 128; i++) {
      const bool inside = box.row + r >= 0 && box.row + r < m.rows && box.byte + i < m.width;
      box.to[swizzled(static_cast<uint64_t>(r * 128 + i))] = inside ? m.base[(box.row + r) * m.row_bytes + box.byte + i] : 0;
    }
  box.barrier->bytes -= m.box_rows * 128;
  settle(box.barrier);
}

// The 32 bytes that row r of an operand has at this step.
void row_of(uint64_t descriptor, int r, unsigned char (&out)[32]) {
  const auto* base = static_cast<const unsigned char*>(machine.dynamic_shared());
  const uint64_t start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1) stop("a wgmma descriptor without the swizzle of 128 bytes", 0);
  if ((descriptor >> 49 & 7) != 0) stop("a wgmma descriptor with a base offset", 0);
  for (int i = 0; i < 32; i++) out[i] = base[swizzled(start + static_cast<uint64_t>(r / 8) * stride + static_cast<uint64_t>(r % 8 * 128 + i))];
}

void multiply_warp(void* const (&data)[32], uint32_t) {
  const auto& first = *static_cast<const WarpProduct*>(data[0]);
  const int warp_row = machine.current->index / 32 % 4 * 16;
  unsigned char a[16][32], b[32];
  for (int r = 0; r < 16; r++) row_of(first.a, warp_row + r, a[r]);
  for (int column = 0; column < 256; column++) {
    row_of(first.b, column, b);
    for (int r = 0; r < 16; r++) {
      auto& p = *static_cast<const WarpProduct*>(data[r % 8 * 4 + column % 8 / 2]);
      if (p.a != first.a || p.b != first.b) stop("lanes of a warp give different wgmma descriptors", 0);
      p.multiply(static_cast<uint32_t*>(p.d) + column / 8 * 4 + r / 8 * 2 + column % 2, p.keep, a[r], b);
    }
  }
}

}  // namespace

void barrier_init(Phase* b, int arrivals) { *b = {0, static_cast<uint8_t>(arrivals), static_cast<uint8_t>(arrivals), 1, 0}; }

void barrier_arrive(Phase* b, int bytes) {
  if (b->live != 1 || b->pending == 0) stop("more arrivals at an mbarrier than it was made for", 0);
  b->bytes += bytes;
  b->pending--;
  settle(b);
}

void barrier_wait(Phase* b, uint32_t parity) {
  for (int turns = 0; b->live == 1 && b->parity == parity; turns++) {
    if (!boxes.empty() && pick(3) == 0) {
      const size_t i = static_cast<size_t>(pick(boxes.size()));
      const Box box = boxes[i];
      boxes[i] = boxes.back();
      boxes.pop_back();
      arrive(box);
      turns = 0;
    }
    if (turns > 20000) stop("waits for an mbarrier whose phase never completes", 0);
    give_way();
  }
  if (b->live != 1) stop("waits at an mbarrier that was not made", 0);
}

void tma_load(void* to, const cuda::TensorMap* map, Phase* b, int byte, int row, int box_bytes) {
  const auto* base = static_cast<const unsigned char*>(machine.dynamic_shared());
  if ((static_cast<const unsigned char*>(to) - base) % 1024 != 0) stop("a TMA box at a place that is not a multiple of 1024 bytes", 0);
  if (box_bytes != map->box_rows * 128) stop("a TMA box of another size than the barrier was told", 0);
  poison(to, static_cast<size_t>(box_bytes));
  boxes.push_back({static_cast<unsigned char*>(to), map, b, byte, row});
}

void named_barrier(int id, int count) {
  Named& n = named[id];
  const unsigned mine = n.generation;
  if (++n.count == count) {
    n.count = 0;
    n.generation++;
    return give_way();
  }
  for (int turns = 0; n.generation == mine; turns++) {
    if (turns > 20000) {
      n.count = 0;
      stop("waits at a named barrier for threads that never come", 0);
    }
    give_way();
  }
}

uint64_t wgmma_descriptor(const void* box) {
  const auto at = static_cast<uint64_t>(static_cast<const unsigned char*>(box) - static_cast<const unsigned char*>(machine.dynamic_shared()));
  return at >> 4 | uint64_t(1) << 16 | uint64_t(64) << 32 | uint64_t(1) << 62;
}

void wgmma_issue(const WarpProduct& p) {
  Thread& t = threads[machine.current->index];
  t.products.push_back({p, t.group});
}
void wgmma_commit() { threads[machine.current->index].group++; }
void wgmma_wait(int left) {
  Thread& t = threads[machine.current->index];
  size_t done = 0;
  for (; done < t.products.size() && t.products[done].group < t.group - left; done++) {
    WarpProduct p = t.products[done].product;
    meet(0xffffffffu, "wgmma", 0, &p, multiply_warp);
  }
  t.products.erase(t.products.begin(), t.products.begin() + static_cast<long>(done));
}

}  // namespace emulate
}  // namespace tersor
