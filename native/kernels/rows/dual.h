// Dual modules in plain data: which rows of a little product stand, and where exact rows go. For the processor (ops/dual_run.h) and devices (cuda/dual_run.h).
#pragma once
#include <cstdint>

namespace tersor {

// A row is insensitive, and its little output y stands, where |y| > threshold (or y < threshold in front of a ReLU), or when it is among the `exactly` rows of
// largest |y| (smallest y), ties by lowest index. NaN is always sensitive.
struct DualRule {
  int64_t exactly = -1;  // insensitive rows; -1: by thresholds
  bool below = false;
  const float* thresholds = nullptr;  // of row r: thresholds[r / run]
  int64_t run = 1;
};

// y[b, row] = (part of first + add[0]) + (part of second + add[1]) for rows that were run; a part below 0 counts as nothing, so does an add that is null.
struct DualSink {
  float* y = nullptr;
  int64_t y_row = 0;
  int first = -1, second = -1;
  const float* add[2] = {nullptr, nullptr};
  int64_t add_row[2] = {0, 0};
};

}  // namespace tersor
