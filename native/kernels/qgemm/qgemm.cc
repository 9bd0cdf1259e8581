// Scalar reference of the family, the choice of rows, and the packed format.
#include "kernels/qgemm/qgemm.h"

#include <cstring>

namespace tersor {
namespace {

constexpr QgemmLayout kPanels16{16, 4, 64, false};
#if TERSOR_ARCH_X64
constexpr QgemmLayout kVisited16{16, 4, 64, true};
#elif TERSOR_ARCH_ARM64
constexpr QgemmLayout kPanels16x8{16, 8, 64, false};
#endif
#define kTakesU8 true, false
#define kTakesS8 false, true
#define kTakesBoth true, true

const QgemmRow kRows[] = {
#define TERSOR_QGEMM(needs, variant, name, mr, np, min_m, takes, layout, width, tolerance) \
  {needs, #variant, #name, mr, np, min_m, takes, layout, &qgemm_width_##width, name},
#include "kernels/qgemm/kernels.inc"
#undef TERSOR_QGEMM
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

int64_t round64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Usable rows that read the layout of the best one, best first.
struct Chosen {
  const QgemmRow* rows[kRowCount];
  int count = 0;
  Chosen() {
    const uint32_t allowed = isa::allowed();
    for (const QgemmRow& row : kRows)
      if ((row.needs & ~allowed) == 0 && (count == 0 || row.layout == rows[0]->layout)) rows[count++] = &row;
  }
};

const Chosen& chosen() {
  static const Chosen c;
  return c;
}

}  // namespace

void qgemm_u8s8s32_1x16_scalar(const QgemmBlock& q) {
  const int64_t kr = kPanels16.kr, nr = kPanels16.nr;
  for (int64_t j = 0; j < q.n; j += nr)
    for (int64_t i = 0; i < q.m; i++) {
      const uint8_t* a = static_cast<const uint8_t*>(q.a) + i * q.a_row;
      const int8_t* panel = q.b + j / nr * q.panel_bytes;
      uint32_t sums[16] = {};
      for (int64_t k = 0; k < q.k; k++) {
        const int32_t x = q.a_signed ? static_cast<int8_t>(a[k]) : a[k];
        for (int64_t c = 0; c < nr; c++) sums[c] += static_cast<uint32_t>(x * panel[k / kr * nr * kr + c * kr + k % kr]);
      }
      int32_t tile[16];
      memcpy(tile, sums, sizeof tile);
      qgemm_width_scalar.finish(*q.out, tile, 16, q.row0 + i, 1, q.col0 + j, q.n - j < nr ? q.n - j : nr);
    }
}

const QgemmRow& qgemm_row(int64_t m) {
  const Chosen& c = chosen();
  for (int i = 0; i < c.count; i++)
    if (m >= c.rows[i]->min_m) return *c.rows[i];
  return *c.rows[c.count - 1];
}

const QgemmLayout& qgemm_layout() { return chosen().rows[0]->layout; }

bool qgemm_takes(bool a_signed) {
  const Chosen& c = chosen();
  for (int i = 0; i < c.count && c.rows[i]->needs != 0; i++)
    if (!(a_signed ? c.rows[i]->takes_s8 : c.rows[i]->takes_u8)) return false;
  return true;
}

int qgemm_all_rows(const QgemmRow** out) {
  *out = kRows;
  return kRowCount;
}

int qgemm_rows(RowInfo* out, int capacity) {
  const Chosen c;  // not the one kept for the process: tests change what is allowed
  for (int i = 0; i < kRowCount && i < capacity; i++) {
    bool first = false;
    for (int r = c.count - 1; r >= 0; r--)
      if (!strcmp(c.rows[r]->variant, kRows[i].variant)) first = c.rows[r] == &kRows[i];
    out[i] = {"qgemm", kRows[i].variant, kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, first};
  }
  return kRowCount;
}

int64_t qgemm_blob_bytes(const QgemmLayout& layout, int64_t n, int64_t k) {
  return static_cast<int64_t>(sizeof(QgemmHeader)) + round64(layout.panels(n) * layout.nr * 4) + round64(layout.panels(n) * layout.panel_bytes(k)) +
         round64(layout.panels(n) * layout.panel_visits(k) * static_cast<int64_t>(sizeof(QgemmVisits)));
}

namespace {
QgemmHeader header_of(const QgemmLayout& layout, int64_t n, int64_t k) {
  QgemmHeader h{};
  h.magic = kQgemmMagic;
  h.nr = static_cast<int16_t>(layout.nr), h.kr = static_cast<int16_t>(layout.kr), h.k_pad = layout.k_pad;
  h.flags = layout.visits ? kQgemmHasVisits : 0;
  h.n = n, h.k = k;
  h.sums_at = static_cast<int64_t>(sizeof h);
  h.panels_at = h.sums_at + round64(layout.panels(n) * layout.nr * 4);
  h.visits_at = h.panels_at + round64(layout.panels(n) * layout.panel_bytes(k));
  h.bytes = qgemm_blob_bytes(layout, n, k);
  return h;
}
}  // namespace

void qgemm_blob_header(const QgemmLayout& layout, int64_t n, int64_t k, void* blob) {
  const QgemmHeader h = header_of(layout, n, k);
  memset(blob, 0, static_cast<size_t>(h.panels_at));
  memcpy(blob, &h, sizeof h);
  const int64_t used = h.panels_at + layout.panels(n) * layout.panel_bytes(k);
  memset(static_cast<char*>(blob) + used, 0, static_cast<size_t>(h.visits_at - used));
  const int64_t end = h.visits_at + layout.panels(n) * layout.panel_visits(k) * static_cast<int64_t>(sizeof(QgemmVisits));
  memset(static_cast<char*>(blob) + end, 0, static_cast<size_t>(h.bytes - end));
}

namespace {

// No sum of two products of a group can leave 16 bits, whatever the two codes in [0, 255]: 255 * 128 fits, 255 * 129 does not.
bool is_tame(const int8_t* group) {
  for (int i = 0; i < 64; i += 2) {
    const int a = group[i], b = group[i + 1];
    if ((a > 0 ? a : 0) + (b > 0 ? b : 0) > 128 || (a < 0 ? a : 0) + (b < 0 ? b : 0) < -128) return false;
  }
  return true;
}

bool is_zero(const int8_t* group) {
  for (int i = 0; i < 64; i++)
    if (group[i]) return false;
  return true;
}

void plan_visits(const int8_t* panel, int64_t k, QgemmVisits* out) {
  for (int64_t k0 = 0; k0 < k; k0 += kQgemmStretch, out++) {
    const int64_t groups = (k - k0 < kQgemmStretch ? k - k0 + 3 : kQgemmStretch) / 4;
    uint8_t wild[kQgemmStretch / 4];
    memset(out, 0, sizeof *out);
    for (int64_t g = 0; g < groups; g++) {
      const int8_t* group = panel + (k0 / 4 + g) * 64;
      if (is_zero(group)) continue;
      if (is_tame(group)) out->order[out->tame++] = static_cast<uint8_t>(g);
      else wild[out->wild++] = static_cast<uint8_t>(g);
    }
    memcpy(out->order + out->tame, wild, out->wild);
  }
}

}  // namespace

void qgemm_pack_blob(const QgemmLayout& layout, const int8_t* w, int64_t w_row, int64_t n, int64_t k, int64_t begin, int64_t end, void* blob) {
  const QgemmHeader h = header_of(layout, n, k);
  int32_t* sums = reinterpret_cast<int32_t*>(static_cast<char*>(blob) + h.sums_at);
  int8_t* panels = reinterpret_cast<int8_t*>(static_cast<char*>(blob) + h.panels_at);
  QgemmVisits* visits = reinterpret_cast<QgemmVisits*>(static_cast<char*>(blob) + h.visits_at);
  const int64_t bytes = layout.panel_bytes(k), kr = layout.kr, group = static_cast<int64_t>(layout.nr) * kr;
  constexpr int64_t kStep = 64;  // a multiple of every kr
  for (int64_t p = begin; p < end; p++) {
    int8_t* panel = panels + p * bytes;
    memset(panel, 0, static_cast<size_t>(bytes));
    const int64_t live = n - p * layout.nr < layout.nr ? n - p * layout.nr : layout.nr;
    int32_t* sum = sums + p * layout.nr;
    for (int64_t j = 0; j < live; j++) sum[j] = 0;
    for (int64_t k0 = 0; k0 < k; k0 += kStep) {  // a stretch of every column at a time: the panel's lines stay in cache
      const int64_t k1 = k0 + kStep < k ? k0 + kStep : k;
      for (int64_t j = 0; j < live; j++) {
        const int8_t* from = w + (p * layout.nr + j) * w_row;
        int8_t* to = panel + k0 / kr * group + j * kr;
        int32_t s = 0;
        for (int64_t i = k0; i < k1; i++) s += from[i];
        sum[j] += s;
        int64_t i = k0;
        if (kr == 4)
          for (; i + 4 <= k1; i += 4, to += group) memcpy(to, from + i, 4);
        for (int64_t l = 0; i < k1; i++) {
          to[l] = from[i];
          if (++l == kr) l = 0, to += group;
        }
      }
    }
    if (layout.visits) plan_visits(panel, k, visits + p * layout.panel_visits(k));
  }
}

void qgemm_join_blobs(const QgemmLayout& layout, const void* const* blobs, const int64_t* n, int count, int64_t k, void* joined) {
  int64_t all = 0;
  for (int i = 0; i < count; i++) all += n[i];
  qgemm_blob_header(layout, all, k, joined);
  const QgemmHeader to = header_of(layout, all, k);
  const int64_t visits = layout.panel_visits(k) * static_cast<int64_t>(sizeof(QgemmVisits));
  int64_t panel = 0;
  for (int i = 0; i < count; i++) {
    const QgemmHeader from = header_of(layout, n[i], k);
    const int64_t panels = layout.panels(n[i]);
    const auto copy = [&](int64_t to_at, int64_t from_at, int64_t bytes) {
      memcpy(static_cast<char*>(joined) + to_at + panel * bytes, static_cast<const char*>(blobs[i]) + from_at, static_cast<size_t>(panels * bytes));
    };
    copy(to.sums_at, from.sums_at, layout.nr * 4);
    copy(to.panels_at, from.panels_at, layout.panel_bytes(k));
    copy(to.visits_at, from.visits_at, visits);
    panel += panels;
  }
}

bool qgemm_blob_fits(const QgemmLayout& layout, const void* blob, int64_t bytes, int64_t n, int64_t k) {
  if (bytes != qgemm_blob_bytes(layout, n, k) || reinterpret_cast<uintptr_t>(blob) % 64 != 0) return false;
  const QgemmHeader want = header_of(layout, n, k);
  return memcmp(blob, &want, sizeof want) == 0;
}

namespace {
QgemmHeader read_header(const void* blob) {
  QgemmHeader h;
  memcpy(&h, blob, sizeof h);
  return h;
}
}  // namespace

const int32_t* qgemm_blob_sums(const void* blob) { return reinterpret_cast<const int32_t*>(static_cast<const char*>(blob) + read_header(blob).sums_at); }
const QgemmVisits* qgemm_blob_visits(const void* blob) {
  const QgemmHeader h = read_header(blob);
  return h.flags & kQgemmHasVisits ? reinterpret_cast<const QgemmVisits*>(static_cast<const char*>(blob) + h.visits_at) : nullptr;
}
const int8_t* qgemm_blob_panels(const void* blob) { return static_cast<const int8_t*>(blob) + read_header(blob).panels_at; }

}  // namespace tersor
