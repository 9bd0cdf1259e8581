#include "ops/spmm_run.h"

#include <atomic>
#include <cstring>

#include "ops/slots.h"

namespace tersor {

Status SpmmTasks::cut(const char* op, const int32_t* indptr, int64_t rows, int64_t max_rows, int64_t max_entries, int64_t unit) {
  TERSOR_TRY(memory.reserve(op, (rows + 1) * 4));
  int32_t* out = memory.as<int32_t>();
  first = out;
  count = 0, most_entries = 0, most_rows = 0;
  for (int64_t r = 0; r < rows;) {
    out[count++] = static_cast<int32_t>(r);
    int64_t end = r + 1;
    while (end < rows && end - r < max_rows && static_cast<int64_t>(indptr[end + 1]) - indptr[r] <= max_entries) end++;
    if (end < rows && end - r > unit) end -= (end - r) % unit;
    const int64_t entries = static_cast<int64_t>(indptr[end]) - indptr[r];
    if (entries > most_entries) most_entries = entries;
    if (end - r > most_rows) most_rows = end - r;
    r = end;
  }
  out[count] = static_cast<int32_t>(rows);
  return {};
}

namespace {

constexpr int64_t kSuperRows = 1024;        // rows of x whose panels exist at a time
constexpr int64_t kTaskValues = 1 << 16;    // values of a task: they stay in the second cache level from one panel to the next
constexpr int64_t kTaskRows = 128;
constexpr int64_t kChunk = 256;             // columns of x that are transposed at a time
constexpr int64_t kMinSegment = 16, kGoodSegment = 32;  // values of a row in a panel: fewer, and ends of rows cost more than a near x gains

// How the panels are cut: lanes of a full one and columns (of blocks) that a pass takes.
struct Cut {
  int lanes;
  int64_t columns;
};

Cut cut_panels(const SpmmRow& row, const SpmmMatrix& w, int64_t m) {
  const int shape = static_cast<int>(w.shape);
  const int64_t bc = spmm_block_cols(w.shape), area = bc * spmm_block_rows(w.shape), block_cols = (w.cols + bc - 1) / bc;
  Cut c{row.lanes[shape], block_cols > 0 ? block_cols : 1};
  while (c.lanes > 16 && c.lanes / 2 >= m) c.lanes /= 2;
  if (spmm_block_rows(w.shape) > 1) {  // x is read once for several rows: the second cache level feeds that
    while (c.columns > 16 && c.columns * bc * c.lanes * 4 > (1 << 20)) c.columns = (c.columns + 1) / 2;
    return c;
  }
  const double size = static_cast<double>(w.rows) * static_cast<double>(w.cols);
  const double density = size > 0 ? static_cast<double>(w.indptr[w.block_rows()]) * static_cast<double>(area) / size : 0;
  const auto near = [&] { return row.panel_bytes / (c.lanes * 4); };
  if (c.lanes == row.lanes[shape] && c.lanes > 64 && static_cast<double>(near()) * density < kMinSegment) c.lanes = 64;
  int64_t columns = near();
  if (static_cast<double>(columns) * density < kMinSegment)
    while (columns < w.cols && static_cast<double>(columns) * density < kGoodSegment) columns *= 2;
  c.columns = columns / bc < 1 ? 1 : columns / bc;
  return c;
}

// Lanes of the panel that begins at row i of m: full ones, then halves, so that few lanes run empty.
int lanes_at(const Cut& c, int64_t i, int64_t m) {
  int lanes = c.lanes;
  while (lanes > 16 && lanes > m - i) lanes /= 2;
  return lanes;
}

struct Run {
  const SpmmRow& row;
  const SpmmMatrix& w;
  const Cut cut;
  const SpmmTasks& tasks;
  int64_t padded_cols;
  const float* panels;
  float* y;

  // Scratch of a task: tile, cursors, ends, then decoded values and columns.
  int64_t tile_floats() const { return tasks.most_rows * spmm_block_rows(w.shape) * cut.lanes; }
  int64_t area() const { return spmm_block_rows(w.shape) * spmm_block_cols(w.shape); }
  int64_t scratch_bytes() const {
    return tile_floats() * 4 + tasks.most_rows * 8 + (w.quantized ? tasks.most_entries * area() * 4 : 0) + (w.decode ? tasks.most_entries * 2 + 64 : 0) + 64;
  }

  bool task(int64_t t, int64_t m, char* scratch) const {
    const int64_t r0 = tasks.first[t], rows = tasks.first[t + 1] - r0, base = w.indptr[r0], entries = w.indptr[r0 + rows] - base;
    const int br = spmm_block_rows(w.shape);
    float* tile = reinterpret_cast<float*>(scratch);
    int32_t* cursor = reinterpret_cast<int32_t*>(tile + tile_floats());
    int32_t* end = cursor + tasks.most_rows;
    float* values = reinterpret_cast<float*>(end + tasks.most_rows);
    for (int64_t r = 0; r < rows; r++) end[r] = static_cast<int32_t>(w.indptr[r0 + r + 1] - base);

    SpmmPanel p;
    p.shape = w.shape, p.rows = rows, p.end = end, p.cursor = cursor, p.wide = w.wide, p.y = tile;
    p.values = static_cast<const float*>(w.values) + (w.quantized ? 0 : base * area());
    if (w.quantized) {
      const int8_t* codes = static_cast<const int8_t*>(w.values) + base * area();
      for (int64_t i = 0; i < entries * area(); i++) values[i] = static_cast<float>(codes[i]);
      p.values = values;
    }
    p.columns = static_cast<const char*>(w.columns) + base * (w.wide ? 4 : 2);
    if (w.decode) {
      uint16_t* columns = reinterpret_cast<uint16_t*>(values + (w.quantized ? tasks.most_entries * area() : 0));
      if (!w.decode(w.context, r0, r0 + rows, columns)) return false;
      p.columns = columns;
    }
    const int64_t block_cols = padded_cols / spmm_block_cols(w.shape);
    for (int64_t i = 0; i < m;) {
      p.lanes = lanes_at(cut, i, m);
      p.pitch = p.lanes;
      p.x = panels + i * padded_cols;
      cursor[0] = 0;
      for (int64_t r = 1; r < rows; r++) cursor[r] = end[r - 1];
      for (int64_t c = 0; c == 0 || c < block_cols; c += cut.columns) {
        p.limit = c + cut.columns < block_cols ? c + cut.columns : block_cols;
        p.accumulate = c > 0;
        row.panel(p);
      }
      SpmmTranspose out;
      out.in = tile, out.in_row = p.pitch, out.rows = rows * br < w.rows - r0 * br ? rows * br : w.rows - r0 * br;
      out.cols = p.lanes < m - i ? p.lanes : m - i;
      out.out = y + i * w.rows + r0 * br, out.out_row = w.rows;
      out.scale = w.scale ? w.scale + r0 * br * w.scale_step : nullptr, out.scale_step = w.scale_step;
      out.bias = w.bias ? w.bias + r0 * br : nullptr;
      row.transpose(out);
      i += p.lanes;
    }
    return true;
  }
};

// Columns [c0, c1) of the panel of `width` rows of x; columns beyond x and lanes beyond the width are zero.
void fill_panel(const SpmmRow& row, const float* x, int64_t cols, int64_t c0, int64_t c1, int64_t width, int lanes, float* panel) {
  const int64_t stop = c1 < cols ? c1 : cols > c0 ? cols : c0, from = width < lanes ? c0 : stop;
  memset(panel + from * lanes, 0, static_cast<size_t>((c1 - from) * lanes) * 4);
  SpmmTranspose in;
  in.in = x + c0, in.in_row = cols, in.rows = width, in.cols = stop - c0, in.out = panel + c0 * lanes, in.out_row = lanes;
  row.transpose(in);
}

}  // namespace

Status spmm_many(const char* op, const SpmmMatrix& w, const float* x, int64_t m, float* y, const Cancel* cancel) {
  const SpmmRow& row = spmm_row();
  const int64_t br = spmm_block_rows(w.shape), bc = spmm_block_cols(w.shape), block_rows = w.block_rows();
  int64_t share = block_rows / 8 / (16 / br) * (16 / br);  // at least 8 tasks where there are rows for them
  share = share < 16 / br ? 16 / br : share > kTaskRows / br ? kTaskRows / br : share;
  SpmmTasks tasks;
  TERSOR_TRY(tasks.cut(op, w.indptr, block_rows, share, kTaskValues / (br * bc), 16 / br));

  const int64_t padded_cols = w.padded_cols > 0 ? w.padded_cols : (w.cols + bc - 1) / bc * bc;
  for (int64_t i0 = 0; i0 < m; i0 += kSuperRows) {
    const int64_t rows = m - i0 < kSuperRows ? m - i0 : kSuperRows;
    const Cut cut = cut_panels(row, w, rows);
    Scratch panels;
    TERSOR_TRY(panels.reserve(op, (rows + cut.lanes) * padded_cols * 4));
    int64_t count = 0;
    for (int64_t i = 0; i < rows; i += lanes_at(cut, i, rows)) count++;
    const int64_t chunks = (padded_cols + kChunk - 1) / kChunk;
    TERSOR_TRY(parallel_for(count * chunks, 1, cancel, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        int64_t i = 0;
        for (int64_t p = t / chunks; p > 0; p--) i += lanes_at(cut, i, rows);
        const int lanes = lanes_at(cut, i, rows);
        const int64_t width = rows - i < lanes ? rows - i : lanes, c0 = t % chunks * kChunk;
        fill_panel(row, x + (i0 + i) * w.cols, w.cols, c0, padded_cols < c0 + kChunk ? padded_cols : c0 + kChunk, width, lanes, panels.as<float>() + i * padded_cols);
      }
    }));
    const Run run{row, w, cut, tasks, padded_cols, panels.as<float>(), y + i0 * w.rows};
    ScratchSlots slots;
    TERSOR_TRY(slots.reserve(op, run.scratch_bytes(), tasks.count));
    std::atomic<bool> damaged{false};
    TERSOR_TRY(parallel_for(tasks.count, 1, cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      for (int64_t t = begin; t < end; t++)
        if (!run.task(t, rows, slot.as<char>())) damaged.store(true, std::memory_order_relaxed);
    }));
    if (damaged.load()) return fail(Code::model_format, "%s: the index of a row does not stand for as many values as the row has", op);
  }
  return {};
}

}  // namespace tersor
