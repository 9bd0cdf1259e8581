#include "ops/qgemm_run.h"

#include <new>

namespace tersor {

Status qgemm_check_depth(const char* op, int64_t k) {
  if (k <= kQgemmMaxK) return {};
  return fail(Code::limit, "%s: K must be <= %lld (column sums fit in 32 bits), got %lld", op, static_cast<long long>(kQgemmMaxK), static_cast<long long>(k));
}

Status qgemm_pack_parallel(const char* op, const int8_t* w, int64_t w_row, int64_t n, int64_t k, void* blob, const Cancel* cancel) {
  (void)op;
  const QgemmLayout& layout = qgemm_layout();
  qgemm_blob_header(layout, n, k, blob);
  return parallel_for(layout.panels(n), grain_for(layout.panel_bytes(k)), cancel,
                      [&](int64_t begin, int64_t end) { qgemm_pack_blob(layout, w, w_row, n, k, begin, end, blob); });
}

Status qgemm_check_scales(const char* op, const TensorRef& w_scale, const TensorRef& bias, int64_t n) {
  TERSOR_TRY(expect_dtype(op, "w_scale", w_scale, DType::f32));
  TERSOR_TRY(expect_rank(op, "w_scale", w_scale, 1));
  if (w_scale.shape[0] != n && w_scale.shape[0] != 1)
    return fail(Code::shape, "%s: w_scale must have 1 or %lld entries, got %s", op, static_cast<long long>(n), TERSOR_TEXT(w_scale));
  if (!bias.present()) return {};
  TERSOR_TRY(expect_dtype(op, "bias", bias, DType::f32));
  return expect_shape(op, "bias", bias, &n, 1);
}

Status qgemm_check_scale(const char* op, const char* name, double scale) {
  if (scale >= 1.17549435e-38 && scale <= 3.40282346e38) return {};
  return fail(Code::option, "%s: %s must be a positive normal f32, got %g", op, name, scale);
}

Status qgemm_check_blob(const char* op, const TensorRef& packed, int64_t n, int64_t k) {
  if (packed.contiguous() && qgemm_blob_fits(qgemm_layout(), packed.data, packed.shape[0], n, k)) return {};
  return fail(Code::option, "%s: packed was not made by qgemm_pack for a [%lld,%lld] weight and the kernel row %s", op, static_cast<long long>(n),
              static_cast<long long>(k), qgemm_row(int64_t(1) << 20).function);
}

Status qgemm_scales(const char* op, const TensorRef& w_scale, int64_t n, double x_scale, Scratch* out) {
  TERSOR_TRY(out->reserve(op, n * 4));
  float* scale = out->as<float>();
  const float* w = w_scale.as<float>();
  const int64_t step = w_scale.shape[0] == 1 ? 0 : w_scale.stride[0];
  for (int64_t i = 0; i < n; i++) {
    const float s = w[i * step];
    if (!(s - s == 0)) return fail(Code::option, "%s: w_scale must be finite, got %g at [%lld]", op, static_cast<double>(s), static_cast<long long>(i));
    scale[i] = static_cast<float>(x_scale) * s;
  }
  return {};
}

static_assert(static_cast<int>(QgemmAct::none) == static_cast<int>(activation::none) && static_cast<int>(QgemmAct::relu) == static_cast<int>(activation::relu) &&
                  static_cast<int>(QgemmAct::gelu) == static_cast<int>(activation::gelu) && static_cast<int>(QgemmAct::tanh) == static_cast<int>(activation::tanh) &&
                  static_cast<int>(QgemmAct::sigmoid) == static_cast<int>(activation::sigmoid) && static_cast<int>(QgemmAct::gelu_tanh) == static_cast<int>(activation::gelu_tanh),
              "the kernels' activations are those of ops/enums.def");

void qgemm_part(const QgemmCodes& codes, int64_t m0, int64_t m1, const void* blob, int64_t n0, int64_t n1, int64_t k, QgemmDepth depth, const QgemmFinish& f) {
  const QgemmLayout& layout = qgemm_layout();
  QgemmBlock q;
  q.m = m1 - m0, q.n = n1 - n0, q.k = depth.count;
  q.a = static_cast<const char*>(codes.a) + depth.first, q.a_row = codes.a_row, q.a_signed = codes.a_signed;
  q.panel_bytes = layout.panel_bytes(k);
  q.b = qgemm_blob_panels(blob) + n0 / layout.nr * q.panel_bytes + depth.first * layout.nr;
  if (const QgemmVisits* visits = qgemm_blob_visits(blob)) {
    q.panel_visits = layout.panel_visits(k);
    q.visits = visits + n0 / layout.nr * q.panel_visits + depth.first / kQgemmStretch;
  }
  q.out = &f;
  q.row0 = m0, q.col0 = n0;
  qgemm_row(q.m).block(q);
}

namespace {

// Tasks of rows x columns, row blocks outside: a thread's share of the tasks is a stretch of rows, whose codes it makes and keeps in its own caches.
struct Tasks {
  int64_t rows, row_blocks, panels, column_blocks;
};

// A task multiplies a block of rows with panels that stay in L2 (which also holds the rows), and has 2^21 products or more. Few rows read each panel once,
// so nothing need stay; bytes are what they cost, and 2^19 of them are worth a second thread. Sums are exact, so the cut may follow the threads.
Tasks cut(const QgemmLayout& layout, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kPanelBytes = 384 << 10, kRows = 384, kFewRows = 32;
  const int64_t panels = layout.panels(n), panel_bytes = layout.panel_bytes(k) > 0 ? layout.panel_bytes(k) : 1, threads = thread_count();
  const int64_t streams = m > 12 && panels % 12 == 0 ? 12 : 8;  // whole tiles of three, four or eight panels
  Tasks t;
  t.row_blocks = m < kRows + kRows / 2 ? 1 : (m + kRows - 1) / kRows;
  // Every thread gets rows of its own where each then has enough of them to use a panel well; else all threads share the rows and cut the columns.
  if (threads > 1 && m >= kFewRows * threads) t.row_blocks = (t.row_blocks + threads - 1) / threads * threads;
  t.rows = t.row_blocks == 1 ? m : ((m + t.row_blocks - 1) / t.row_blocks + 7) / 8 * 8;
  t.row_blocks = (m + t.rows - 1) / t.rows;
  int64_t width = m <= 16 ? panels : kPanelBytes / panel_bytes / streams * streams;
  const int64_t wanted = threads > 1 ? 16 * threads : 8;  // tasks: the one that is waited for at the end is a small part of the whole
  const int64_t share = (panels * t.row_blocks + wanted - 1) / wanted, least = (int64_t(1) << (m <= 4 ? 19 : 21)) / (panel_bytes * t.rows);
  const int64_t fair = ((share > least ? share : least) + streams - 1) / streams * streams;
  if (width > fair) width = fair;
  if (width < streams) width = streams;
  t.panels = width;
  t.column_blocks = (panels + width - 1) / width;
  return t;
}

// The rows of one block, made by whoever comes first, together with whoever comes while that goes on.
struct alignas(64) Making {
  std::atomic<int64_t> next{0}, made{0};

  void ensure(const QgemmPrepare& prepare, int64_t begin, int64_t end) {
    const int64_t pieces = (end - begin + prepare.grain - 1) / prepare.grain;
    if (made.load(std::memory_order_acquire) == pieces) return;
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) {
      const int64_t from = begin + i * prepare.grain;
      prepare.run(prepare.state, from, from + prepare.grain < end ? from + prepare.grain : end);
      made.fetch_add(1, std::memory_order_acq_rel);
    }
    while (!spin_until(std::chrono::seconds(1), [&] { return made.load(std::memory_order_acquire) == pieces; })) {}
  }
};

}  // namespace

Status qgemm_parallel(const char* op, const QgemmCodes& codes, int64_t m, const void* blob, int64_t n, int64_t k, QgemmDepth depth, const QgemmFinish& f,
                      const Cancel* cancel, const QgemmPrepare& prepare) {
  const QgemmLayout& layout = qgemm_layout();
  const Tasks t = cut(layout, m, n, k);
  Scratch memory;
  if (prepare.run) TERSOR_TRY(memory.reserve(op, t.row_blocks * static_cast<int64_t>(sizeof(Making))));
  Making* const making = memory.as<Making>();
  for (int64_t i = 0; prepare.run && i < t.row_blocks; i++) new (making + i) Making;
  return parallel_for(t.column_blocks * t.row_blocks, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t block = task / t.column_blocks, m0 = block * t.rows, n0 = task % t.column_blocks * t.panels * layout.nr;
      const int64_t m1 = m0 + t.rows < m ? m0 + t.rows : m, n1 = n0 + t.panels * layout.nr < n ? n0 + t.panels * layout.nr : n;
      if (prepare.run) making[block].ensure(prepare, m0, m1);
      qgemm_part({static_cast<const char*>(codes.a) + m0 * codes.a_row, codes.a_row, codes.a_signed}, m0, m1, blob, n0, n1, k, depth, f);
    }
  });
}

}  // namespace tersor
