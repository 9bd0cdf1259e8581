// Rows of the recurrent family against the scalar row (equal bits) on guarded memory: ragged units, a range inside wider rows, lengths.
#include "kernels/recurrent/recurrent.h"

#include "test/test.h"

namespace tersor {
namespace {

using test::GuardedBuffer;

constexpr int64_t kRows = 3;

// Values in [-2, 2], now and then an extreme; the last element stands before an unreadable page.
struct Matrix {
  GuardedBuffer memory;
  int64_t size;
  Matrix(int64_t n, bool extremes = false) : memory(static_cast<size_t>(n) * 4), size(n) {
    std::uniform_real_distribution<float> value(-2, 2);
    const float special[] = {0.0f, -0.0f, 90.0f, -90.0f, INFINITY, -INFINITY, NAN, 1e-40f};
    for (int64_t i = 0; i < n; i++) get()[i] = extremes && i % 11 == 0 ? special[i / 11 % 8] : value(test::rng());
  }
  float* get() const { return memory.as<float>(); }
  std::vector<float> copy() const { return std::vector<float>(get(), get() + size); }
  bool same(const std::vector<float>& other) const {
    for (int64_t i = 0; i < size; i++) {
      const float a = get()[i], b = other[static_cast<size_t>(i)];
      if (memcmp(&a, &b, 4) != 0 && !(std::isnan(a) && std::isnan(b))) return false;
    }
    return true;
  }
};

// Runs the row and the reference on equal memory; `call(row, matrices)` uses the matrices as it likes.
template <class Call> void compare(const char* what, const RecurrentRow& row, const RecurrentRow& reference, int64_t n, std::vector<Matrix*> matrices, Call call) {
  std::vector<std::vector<float>> before;
  for (Matrix* m : matrices) before.push_back(m->copy());
  call(reference);
  std::vector<std::vector<float>> want;
  for (size_t i = 0; i < matrices.size(); i++) {
    want.push_back(matrices[i]->copy());
    memcpy(matrices[i]->get(), before[i].data(), before[i].size() * 4);
  }
  call(row);
  for (size_t i = 0; i < matrices.size(); i++) CHECK_MSG(matrices[i]->same(want[i]), "%s of %s, n %lld: matrix %zu differs", what, row.function, (long long)n, i);
}

}  // namespace

TERSOR_TEST(recurrent_rows_match_scalar_bit_for_bit) {
  const RecurrentRow* rows;
  const int count = recurrent_table(&rows);
  const int32_t lengths[kRows] = {4, 2, 3};
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100})
      for (int64_t before : {0, 5})  // units of the row in front of the range
        for (const int32_t* given : {static_cast<const int32_t*>(nullptr), lengths}) {
          const int64_t w = n + before, j = before, step = 2;
          if (w == 0) continue;
          const RecurrentRow& reference = rows[count - 1];
          Matrix gates4(kRows * 4 * w, true), gates3(kRows * 3 * w, true), a(kRows * w), b(kRows * w), c(kRows * w), d(kRows * w), e(kRows * w), f(kRows * w), dg4(kRows * 4 * w),
              dg3(kRows * 3 * w), dr3(kRows * 3 * w);
          compare("lstm", rows[r], reference, n, {&gates4, &a, &b, &c, &d, &e}, [&](const RecurrentRow& row) {
            row.lstm({kRows, n, w, step, given, gates4.get() + j, a.get() + j, b.get() + j, c.get() + j, d.get() + j, e.get() + j});
          });
          compare("lstm_grad", rows[r], reference, n, {&gates4, &a, &b, &c, &d, &e, &dg4}, [&](const RecurrentRow& row) {
            row.lstm_grad({kRows, n, w, step, given, gates4.get() + j, a.get() + j, b.get() + j, c.get() + j, d.get() + j, e.get() + j, dg4.get() + j});
          });
          compare("gru", rows[r], reference, n, {&gates3, &a, &b, &c, &d}, [&](const RecurrentRow& row) {
            row.gru({kRows, n, w, step, given, gates3.get() + j, a.get() + j, b.get() + j, c.get() + j, d.get() + j});
          });
          compare("gru_grad", rows[r], reference, n, {&gates3, &a, &b, &c, &d, &dg3, &dr3}, [&](const RecurrentRow& row) {
            row.gru_grad({kRows, n, w, step, given, gates3.get() + j, a.get() + j, b.get() + j, c.get() + j, d.get() + j, dg3.get() + j, dr3.get() + j});
          });
        }
  }
}

TERSOR_TEST(recurrent_sequence_that_has_ended_keeps_its_state) {
  const RecurrentRow* rows;
  const int count = recurrent_table(&rows);
  const int32_t lengths[1] = {2};
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    std::vector<float> gates(4 * 5, 1.0f), c_prev(5, 0.25f), h_prev(5, 0.5f), c(5, 9.0f), h(5, 9.0f), y(5, 9.0f), dgates(20, 9.0f), dh(5, 3.0f), dc(5, 4.0f);
    rows[r].lstm({1, 5, 5, 2, lengths, gates.data(), c_prev.data(), h_prev.data(), c.data(), h.data(), y.data()});
    rows[r].lstm_grad({1, 5, 5, 2, lengths, gates.data(), c_prev.data(), c.data(), y.data(), dh.data(), dc.data(), dgates.data()});
    for (size_t i = 0; i < 5; i++) CHECK(c[i] == 0.25f && h[i] == 0.5f && y[i] == 0.0f && dh[i] == 3.0f && dc[i] == 4.0f && dgates[4 * i] == 0.0f);
    rows[r].gru({1, 5, 5, 2, lengths, gates.data(), c_prev.data(), h_prev.data(), h.data(), y.data()});
    for (size_t i = 0; i < 5; i++) CHECK(h[i] == 0.5f && y[i] == 0.0f && gates[i] == 1.0f);
  }
}

}  // namespace tersor
