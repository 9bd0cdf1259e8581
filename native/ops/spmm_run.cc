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

constexpr int64_t kSuperLanes = 1024;       // vectors of x whose panels exist at a time
constexpr int64_t kTaskValues = 1 << 16;    // values of a task: they stay in the second cache level from one panel to the next
constexpr int64_t kTaskRows = 128;
constexpr int64_t kChunk = 256;             // columns of x that are transposed at a time
constexpr int64_t kSegment = 20;            // values of a row in a panel: fewer, and ends of rows cost more than a near x gains

// How the panels are cut: lanes of a full one and columns (of blocks) that a pass takes.
struct Cut {
  int lanes;
  int64_t columns;
};

Cut cut_panels(const SpmmRow& row, const SpmmMatrix& w, int64_t n) {
  const int shape = static_cast<int>(w.shape);
  const int64_t bc = spmm_block_cols(w.shape), area = bc * spmm_block_rows(w.shape), block_cols = (w.cols + bc - 1) / bc;
  Cut c{row.lanes[shape], block_cols > 0 ? block_cols : 1};
  while (c.lanes > 16 && c.lanes / 2 >= n) c.lanes /= 2;
  if (spmm_block_rows(w.shape) > 1) {  // x is read once for several rows: the second cache level feeds that
    while (c.columns > 16 && c.columns * bc * c.lanes * 4 > (1 << 20)) c.columns = (c.columns + 1) / 2;
    return c;
  }
  const double size = static_cast<double>(w.rows) * static_cast<double>(w.cols);
  const double density = size > 0 ? static_cast<double>(w.indptr[w.block_rows()]) * static_cast<double>(area) / size : 0;
  int64_t columns = row.panel_bytes / (c.lanes * 4);
  while (columns < w.cols && static_cast<double>(columns) * density < kSegment) columns *= 2;
  c.columns = columns / bc < 1 ? 1 : columns / bc;
  return c;
}

// Lanes of the panel that begins at vector i of n: full ones, then halves, so that few lanes run empty.
int lanes_at(const Cut& c, int64_t i, int64_t n) {
  int lanes = c.lanes;
  while (lanes > 16 && lanes > n - i) lanes /= 2;
  return lanes;
}

// x as columns can be read where it is: rows of one panel are one block of memory, or they come from far cache levels anyway. Rows a
// multiple of 4096 bytes apart would evict each other.
bool in_place(SpmmSide side, const Cut& c, int64_t pitch, int64_t width, int lanes, int64_t block_cols) {
  return side == SpmmSide::columns && width >= lanes && (pitch == lanes || (c.columns >= block_cols && pitch % 1024 != 0));
}

void finish_rows(float* y, int64_t pitch, int64_t rows, int64_t width, const float* scale, int64_t scale_step, const float* bias) {
  if (!scale && !bias) return;
  for (int64_t r = 0; r < rows; r++, y += pitch) {
    const float s = scale ? scale[r * scale_step] : 1.0f;
    if (!bias)
      for (int64_t j = 0; j < width; j++) y[j] *= s;
    else if (!scale)
      for (int64_t j = 0; j < width; j++) y[j] += bias[r];
    else
      for (int64_t j = 0; j < width; j++) y[j] = y[j] * s + bias[r];
  }
}

Status bad_column(const char* op, uint32_t column, int64_t cols) {
  return fail(Code::model_format, "%s: column index %lld is outside [0, %lld)", op, static_cast<long long>(static_cast<int32_t>(column)), static_cast<long long>(cols));
}

struct Run {
  const SpmmRow& row;
  const SpmmMatrix& w;
  const SpmmSide side;
  const Cut cut;
  const SpmmTasks& tasks;
  const int64_t padded_cols;
  const float* x;         // of these vectors; as columns, with `pitch` floats between rows
  const float* panels;
  float* y;
  const int64_t pitch;
  std::atomic<uint32_t>& damaged;  // 0, a column that is out of range (never 0: cols > 0 where there are entries), or kBadIndex

  static constexpr uint32_t kBadIndex = UINT32_MAX;  // of a format that is decoded, so no column

  // Scratch of a task: tile, cursors, ends, then decoded values and columns.
  int64_t tile_floats() const { return tasks.most_rows * spmm_block_rows(w.shape) * cut.lanes; }
  int64_t area() const { return spmm_block_rows(w.shape) * spmm_block_cols(w.shape); }
  int64_t scratch_bytes() const {
    return tile_floats() * 4 + tasks.most_rows * 8 + (w.quantized ? tasks.most_entries * area() * 4 : 0) + (w.decode ? tasks.most_entries * 2 + 64 : 0) + 64;
  }

  void task(int64_t t, int64_t n, bool check, char* scratch) const {
    const int64_t r0 = tasks.first[t], rows = tasks.first[t + 1] - r0, base = w.indptr[r0], entries = w.indptr[r0 + rows] - base;
    const int br = spmm_block_rows(w.shape);
    float* tile = reinterpret_cast<float*>(scratch);
    int32_t* cursor = reinterpret_cast<int32_t*>(tile + tile_floats());
    int32_t* end = cursor + tasks.most_rows;
    float* values = reinterpret_cast<float*>(end + tasks.most_rows);
    for (int64_t r = 0; r < rows; r++) end[r] = static_cast<int32_t>(w.indptr[r0 + r + 1] - base);

    SpmmPanel p;
    p.shape = w.shape, p.rows = rows, p.end = end, p.cursor = cursor, p.wide = w.wide;
    p.values = static_cast<const float*>(w.values) + (w.quantized ? 0 : base * area());
    if (w.quantized) {
      const int8_t* codes = static_cast<const int8_t*>(w.values) + base * area();
      for (int64_t i = 0; i < entries * area(); i++) values[i] = static_cast<float>(codes[i]);
      p.values = values;
    }
    p.columns = static_cast<const char*>(w.columns) + base * (w.wide ? 4 : 2);
    if (check) {
      const uint32_t most = row.max_column(p.columns, w.wide, entries);
      if (entries > 0 && most >= static_cast<uint64_t>(padded_cols)) return damaged.store(most, std::memory_order_relaxed);
    }
    if (w.decode) {
      uint16_t* columns = reinterpret_cast<uint16_t*>(values + (w.quantized ? tasks.most_entries * area() : 0));
      if (!w.decode(w.context, r0, r0 + rows, columns)) return damaged.store(kBadIndex, std::memory_order_relaxed);
      p.columns = columns;
    }
    const int64_t block_cols = padded_cols / spmm_block_cols(w.shape), first = r0 * br, count = rows * br < w.rows - first ? rows * br : w.rows - first;
    const float* scale = w.scale ? w.scale + first * w.scale_step : nullptr;
    const float* bias = w.bias ? w.bias + first : nullptr;
    for (int64_t i = 0; i < n;) {
      p.lanes = lanes_at(cut, i, n);
      const int64_t width = p.lanes < n - i ? p.lanes : n - i;
      const bool near = in_place(side, cut, pitch, width, p.lanes, block_cols), direct = side == SpmmSide::columns && width == p.lanes;
      p.x = near ? x + i : panels + i * padded_cols;
      p.x_pitch = near ? pitch : p.lanes;
      p.y = direct ? y + first * pitch + i : tile;
      p.y_pitch = direct ? pitch : p.lanes;
      cursor[0] = 0;
      for (int64_t r = 1; r < rows; r++) cursor[r] = end[r - 1];
      p.accumulate = false;
      p.ahead = direct ? p.y + 2 * pitch : side == SpmmSide::rows ? y + i * w.rows + first : y;  // where results go: two rows on, or a row of y for each of W
      p.ahead_pitch = direct ? pitch : side == SpmmSide::rows ? w.rows : 0;
      for (int64_t c = 0; c == 0 || c < block_cols; c += cut.columns, p.accumulate = true) {
        p.last = c + cut.columns >= block_cols;
        p.limit = p.last ? block_cols : c + cut.columns;
        p.ahead_bytes = direct ? p.lanes * 4 : p.last ? count * 4 : 0;
        row.panel(p);
      }
      if (side == SpmmSide::rows) {
        SpmmTranspose out;
        out.in = tile, out.in_row = p.y_pitch, out.rows = count, out.cols = width;
        out.out = y + i * w.rows + first, out.out_row = w.rows;
        out.scale = scale, out.scale_step = w.scale_step, out.bias = bias;
        row.transpose(out);
      } else {
        float* to = y + first * pitch + i;
        if (!direct)
          for (int64_t r = 0; r < count; r++) memcpy(to + r * pitch, tile + r * p.y_pitch, static_cast<size_t>(width) * 4);
        finish_rows(to, pitch, count, width, scale, w.scale_step, bias);
      }
      i += p.lanes;
    }
  }

  // Columns [c0, c1) of the panel of vectors [i, i + width); columns beyond x and lanes beyond the width are zero.
  void fill_panel(int64_t i, int64_t width, int lanes, int64_t c0, int64_t c1, float* panel) const {
    const int64_t cols = w.cols, stop = c1 < cols ? c1 : cols > c0 ? cols : c0, from = width < lanes ? c0 : stop;
    memset(panel + from * lanes, 0, static_cast<size_t>((c1 - from) * lanes) * 4);
    if (side == SpmmSide::columns) {
      for (int64_t c = c0; c < stop; c++) memcpy(panel + c * lanes, x + c * pitch + i, static_cast<size_t>(width) * 4);
      return;
    }
    SpmmTranspose in;
    in.in = x + i * cols + c0, in.in_row = cols, in.rows = width, in.cols = stop - c0, in.out = panel + c0 * lanes, in.out_row = lanes;
    row.transpose(in);
  }
};

}  // namespace

Status spmm_many(const char* op, const SpmmMatrix& w, SpmmSide side, const float* x, int64_t n, float* y, const Cancel* cancel) {
  const SpmmRow& row = spmm_row();
  const int64_t br = spmm_block_rows(w.shape), bc = spmm_block_cols(w.shape), block_rows = w.block_rows();
  int64_t share = block_rows / 8 / (16 / br) * (16 / br);  // at least 8 tasks where there are rows for them
  share = share < 16 / br ? 16 / br : share > kTaskRows / br ? kTaskRows / br : share;
  SpmmTasks tasks;
  TERSOR_TRY(tasks.cut(op, w.indptr, block_rows, share, kTaskValues / (br * bc), 16 / br));

  const int64_t padded_cols = w.padded_cols > 0 ? w.padded_cols : (w.cols + bc - 1) / bc * bc;
  const int64_t pitch = side == SpmmSide::columns ? n : 0, chunks = (padded_cols + kChunk - 1) / kChunk;
  for (int64_t i0 = 0; i0 < n; i0 += kSuperLanes) {
    const int64_t some = n - i0 < kSuperLanes ? n - i0 : kSuperLanes;
    const Cut cut = cut_panels(row, w, some);
    const auto stays = [&](int64_t i, int lanes) { return in_place(side, cut, pitch, some - i, lanes, padded_cols / bc); };
    int64_t count = 0;
    bool fill = false;
    for (int64_t i = 0; i < some; i += lanes_at(cut, i, some), count++) fill = fill || !stays(i, lanes_at(cut, i, some));
    Scratch panels;
    TERSOR_TRY(panels.reserve(op, fill ? (some + cut.lanes) * padded_cols * 4 : 0));
    std::atomic<uint32_t> damaged{0};
    const Run run{row, w, side, cut, tasks, padded_cols, x + i0 * (pitch ? 1 : w.cols), panels.as<float>(), y + i0 * (pitch ? 1 : w.rows), pitch, damaged};
    TERSOR_TRY(parallel_for(fill ? count * chunks : 0, 1, cancel, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        int64_t i = 0;
        for (int64_t p = t / chunks; p > 0; p--) i += lanes_at(cut, i, some);
        const int lanes = lanes_at(cut, i, some);
        const int64_t width = some - i < lanes ? some - i : lanes, c0 = t % chunks * kChunk;
        if (!stays(i, lanes)) run.fill_panel(i, width, lanes, c0, padded_cols < c0 + kChunk ? padded_cols : c0 + kChunk, panels.as<float>() + i * padded_cols);
      }
    }));
    ScratchSlots slots;
    TERSOR_TRY(slots.reserve(op, run.scratch_bytes(), tasks.count));
    TERSOR_TRY(parallel_for(tasks.count, 1, cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      for (int64_t t = begin; t < end; t++) run.task(t, some, w.check_columns && i0 == 0, slot.as<char>());
    }));
    const uint32_t bad = damaged.load();
    if (bad == Run::kBadIndex && w.decode) return fail(Code::model_format, "%s: the index of a row does not stand for as many values as the row has", op);
    if (bad > 0) return bad_column(op, bad, w.cols);
  }
  return {};
}

Status spmm_few(const char* op, const SpmmMatrix& w, const float* x, int64_t n, float* y, const Cancel* cancel) {
  SpmmTasks tasks;
  TERSOR_TRY(tasks.cut(op, w.indptr, w.rows, 4096, 1 << 14, 1));
  return parallel_for(tasks.count, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++)
      for (int64_t i = 0; i < n; i++) {
        const int64_t first = tasks.first[t];
        SpmmArgs s;
        s.rows = tasks.first[t + 1] - first, s.cols = w.cols, s.indptr = w.indptr + first, s.columns = w.columns, s.values = w.values;
        s.wide = w.wide, s.quantized = w.quantized;
        s.scale = w.scale ? w.scale + first * w.scale_step : nullptr, s.scale_step = w.scale_step;
        s.bias = w.bias ? w.bias + first : nullptr;
        s.x = x + i * w.cols, s.y = y + i * w.rows + first;
        spmm_row().gather(s);
      }
  });
}

}  // namespace tersor
