// Where the temporaries of a program stand in one block of memory: slots whose lifetimes do not touch share bytes. Largest first, each at the lowest
// place that is free while it lives (greedy by size: Pisarchyk, Lee, "Efficient memory management for deep neural net inference", 2020, section 4.2).
#pragma once
#include <cstdint>
#include <vector>

namespace tersor {

struct Lifetime {
  int64_t bytes;
  int first, last;  // numbers of steps, both included; last < first: never used
  int64_t offset;   // out
};

// Sets the offsets (multiples of 64, 64 bytes of slack behind each) and returns the size of the block.
int64_t lay_out(std::vector<Lifetime>& lives);

}  // namespace tersor
