// Products with rows in groups: opening a packed block, and the loop over tasks and lanes.
#include <atomic>
#include <cstring>

#include "ops/csr_groups.h"
#include "ops/slots.h"

namespace tersor {

void CsrGroups::lay_out(const char* block) {
  memcpy(&head, block, sizeof head);
  const char* p = block + sizeof head;
  column_start = reinterpret_cast<const int32_t*>(p), p += head.starts_bytes();
  value_start = reinterpret_cast<const int32_t*>(p), p += head.starts_bytes();
  counts = reinterpret_cast<const uint16_t*>(p), p += head.counts_bytes();
  values = reinterpret_cast<const float*>(p), p += static_cast<int64_t>(head.nnz) * 4;
  columns = reinterpret_cast<const uint16_t*>(p);
}

Status CsrGroups::open(const char* op, const TensorRef& packed, const SpmmMatrix& w) {
  const auto refuse = [&] {
    return fail(Code::option, "%s: packed must come from csr_group of this [%lld,%lld] matrix in this process, got %s", op, static_cast<long long>(w.rows),
                static_cast<long long>(w.cols), TERSOR_TEXT(packed));
  };
  if (!packed.contiguous() || packed.shape[0] < static_cast<int64_t>(sizeof head) || reinterpret_cast<uintptr_t>(packed.data) % 4) return refuse();
  memcpy(&head, packed.data, sizeof head);
  const SpmmGroupedRow& row = spmm_grouped_row();
  const auto is = [&](const SpmmGroupForm& f) { return f.lanes > 0 && f.lanes == head.lanes && f.rows == head.group_rows; };
  if (head.magic != CsrGroupsHeader::kMagic || head.rows != w.rows || head.cols != w.cols || head.nnz != w.indptr[w.rows] || head.column_count < 0 ||
      head.panels < 1 || head.panels > head.cols || !(is(row.dense) || is(row.sparse)) || head.bytes() != packed.shape[0])
    return refuse();
  lay_out(static_cast<const char*>(packed.data));
  for (int64_t i = 0; i < head.cells(); i++)
    if (column_start[i + 1] < column_start[i] || value_start[i + 1] < value_start[i]) return refuse();
  const int64_t cells = head.cells();
  if (column_start[0] != 0 || value_start[0] != 0 || column_start[cells] != head.column_count || value_start[cells] != head.nnz) return refuse();
  return {};
}

bool csr_groups_pay(const CsrGroups& groups, int64_t n) {
  const int64_t lanes = groups.head.lanes, filled = (n + lanes - 1) / lanes * lanes;
  return n * 8 >= filled * 7;
}

namespace {

constexpr int64_t kTaskValues = 1 << 16, kTaskRows = 128, kChunk = 256;

struct GroupedRun {
  const SpmmMatrix& w;
  const CsrGroups& q;
  const SpmmSide side;
  const float* x;
  const int64_t n;
  float* y;
  const float* panels;  // null: x is read in place
  const SpmmTasks& tasks;
  std::atomic<bool>& damaged;

  int64_t width_at(int64_t i) const { return n - i < q.head.lanes ? n - i : q.head.lanes; }

  // Counts and columns of groups [g0, g1) of one panel stay within the block and the matrix.
  bool intact(int64_t at, int64_t count) const {
    const int64_t lists = q.head.lists();
    for (int64_t i = at; i < at + count; i++) {
      int64_t c = 0, v = 0;
      for (int64_t p = 1; p <= lists; p++) c += q.counts[i * lists + p - 1], v += q.counts[i * lists + p - 1] * spmm_rows_in(static_cast<int>(p));
      if (c != q.column_start[i + 1] - q.column_start[i] || v != q.value_start[i + 1] - q.value_start[i]) return false;
    }
    const int64_t columns = q.column_start[at + count] - q.column_start[at];
    return columns == 0 || static_cast<int64_t>(spmm_row().max_column(q.columns + q.column_start[at], false, columns)) < w.cols;
  }

  void task(int64_t t, float* tile) const {
    const int64_t g0 = tasks.first[t], r0 = g0 * q.head.group_rows, all = q.head.groups(), lanes = q.head.lanes;
    SpmmGroups s;
    s.group_rows = q.head.group_rows, s.lanes = q.head.lanes, s.groups = tasks.first[t + 1] - g0;
    s.rows = s.groups * s.group_rows < w.rows - r0 ? s.groups * s.group_rows : w.rows - r0;
    for (int64_t p = 0; p < q.head.panels; p++)
      if (!intact(p * all + g0, s.groups)) return damaged.store(true, std::memory_order_relaxed);
    for (int64_t i = 0; i < n; i += lanes) {
      const int64_t width = width_at(i);
      const bool direct = side == SpmmSide::columns && width == lanes;
      s.x = panels ? panels + i * w.cols : x + i, s.x_pitch = panels ? lanes : n;
      s.y = direct ? y + r0 * n + i : tile, s.y_pitch = direct ? n : lanes;
      s.ahead = direct ? s.y + 2 * s.group_rows * n : y + (side == SpmmSide::rows ? i * w.rows + r0 : 0), s.ahead_pitch = direct ? n : side == SpmmSide::rows ? w.rows : 0;
      for (int64_t p = 0; p < q.head.panels; p++) {
        const int64_t at = p * all + g0;
        s.counts = q.counts + at * q.head.lists(), s.columns = q.columns + q.column_start[at], s.values = q.values + q.value_start[at];
        s.accumulate = p > 0, s.ahead_bytes = p > 0 ? 0 : direct ? lanes * 4 : side == SpmmSide::rows ? s.rows * 4 : 0;
        spmm_grouped_row().kernel(s);
      }
      const float* bias = w.bias ? w.bias + r0 : nullptr;
      if (side == SpmmSide::rows) {
        SpmmTranspose out;
        out.in = tile, out.in_row = lanes, out.rows = s.rows, out.cols = width, out.out = y + i * w.rows + r0, out.out_row = w.rows, out.bias = bias;
        spmm_row().transpose(out);
        continue;
      }
      for (int64_t r = 0; r < s.rows; r++) {
        float* to = y + (r0 + r) * n + i;
        if (!direct) memcpy(to, tile + r * lanes, static_cast<size_t>(width) * 4);
        for (int64_t j = 0; bias && j < width; j++) to[j] += bias[r];
      }
    }
  }

  // Columns [c0, c1) of the panel of vectors [i, i + lanes); lanes beyond n are zero.
  void fill(int64_t i, int64_t c0, int64_t c1, float* panel) const {
    const int64_t width = width_at(i), lanes = q.head.lanes;
    if (width < lanes) memset(panel + c0 * lanes, 0, static_cast<size_t>((c1 - c0) * lanes) * 4);
    if (side == SpmmSide::columns) {
      for (int64_t c = c0; c < c1; c++) memcpy(panel + c * lanes, x + c * n + i, static_cast<size_t>(width) * 4);
      return;
    }
    SpmmTranspose in;
    in.in = x + i * w.cols + c0, in.in_row = w.cols, in.rows = width, in.cols = c1 - c0, in.out = panel + c0 * lanes, in.out_row = lanes;
    spmm_row().transpose(in);
  }
};

}  // namespace

Status spmm_grouped(const char* op, const SpmmMatrix& w, const CsrGroups& groups, SpmmSide side, const float* x, int64_t n, float* y, const Cancel* cancel) {
  const int64_t lanes = groups.head.lanes, chunks = (w.cols + kChunk - 1) / kChunk, count = (n + lanes - 1) / lanes, r = groups.head.group_rows;
  SpmmTasks tasks;
  int64_t share = groups.head.groups() / 8;  // at least 8 tasks where there are groups for them
  share = share < 1 ? 1 : share > kTaskRows / r ? kTaskRows / r : share;
  TERSOR_TRY(tasks.cut(op, groups.value_start, groups.head.groups(), share, kTaskValues / groups.head.panels, 1));
  // Columns of few vectors lie near each other; far apart, or a multiple of 4096 bytes, they would take the same places of the caches.
  const bool near = side == SpmmSide::columns && n % lanes == 0 && n <= 512 && n % 256 != 0;
  Scratch panels;
  TERSOR_TRY(panels.reserve(op, near ? 0 : count * lanes * w.cols * 4));
  std::atomic<bool> damaged{false};
  const GroupedRun run{w, groups, side, x, n, y, near ? nullptr : panels.as<float>(), tasks, damaged};
  TERSOR_TRY(parallel_for(near ? 0 : count * chunks, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t i = t / chunks * lanes, c0 = t % chunks * kChunk;
      run.fill(i, c0, w.cols < c0 + kChunk ? w.cols : c0 + kChunk, panels.as<float>() + i * w.cols);
    }
  }));
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(op, tasks.most_rows * r * lanes * 4, tasks.count));
  TERSOR_TRY(parallel_for(tasks.count, 1, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t t = begin; t < end; t++) run.task(t, slot.as<float>());
  }));
  if (damaged.load()) return fail(Code::option, "%s: packed is damaged: make it again with csr_group", op);
  return {};
}

}  // namespace tersor
