// Scalar reference of the family, the choice of the row, and the packed format.
#include "kernels/wgemm/wgemm.h"

#include <cstring>

namespace tersor {
namespace {

const WgemmRow kRows[] = {
#define TERSOR_WGEMM(needs, name, nr, tall, strip_from, strip_from8, width, tolerance) \
  {needs, #name, nr, tall, strip_from, strip_from8, name##_prepare, name##_dot, name##_unpack, wgemm_finish_##width},
#include "kernels/wgemm/kernels.inc"
#undef TERSOR_WGEMM
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);
constexpr int kScalarLanes = 8;

uint32_t word_at(const char* p) {
  uint32_t w;
  memcpy(&w, p, 4);
  return w;
}

// u of value k of a step, lane j.
int code_at(const char* step, int bits, int nr, int k, int j) {
  const int q = k / 4, b = k % 4 * 8, line = nr * 4;
  const char* p = step + j * 4;
  if (bits == 8) return static_cast<int>(word_at(p + q * line) >> b & 255);
  if (bits == 4) return static_cast<int>(word_at(p + q / 2 * line) >> (b + q % 2 * 4) & 15);
  const int low = static_cast<int>(word_at(p + q / 4 * line) >> (b + q % 4 * 2) & 3);
  return bits == 2 ? low : low | static_cast<int>(word_at(p + 2 * line) >> (b + q) & 1) << 2;
}

float value_at(const char* group, const WgemmShape& s, int64_t k, int j) {
  const int line = kScalarLanes * 4;
  float scale, zero = 0;
  memcpy(&scale, group + 4 * j, 4);
  if (s.affine) memcpy(&zero, group + line + 4 * j, 4);
  const char* step = group + line * (s.affine ? 2 : 1) + k / kWgemmStep * s.bits * line;
  return (static_cast<float>(code_at(step, s.bits, kScalarLanes, static_cast<int>(k % kWgemmStep), j) - (1 << (s.bits - 1))) - zero) * scale;
}

// The words of one step of one output, nr words apart; u holds 32 codes.
template <int BITS> void pack_step(const uint8_t* u, char* out, int nr) {
  uint32_t words[BITS] = {};
  for (int k = 0; k < kWgemmStep; k++) {
    const int q = k / 4, b = k % 4 * 8;
    const uint32_t c = u[k];
    if (BITS == 8) words[q % BITS] |= c << b;
    else if (BITS == 4) words[q / 2 % BITS] |= c << (b + q % 2 * 4);
    else words[q / 4] |= (c & 3) << (b + q % 4 * 2);
    if (BITS == 3) words[BITS - 1] |= (c >> 2) << (b + q);
  }
  for (int i = 0; i < BITS; i++) memcpy(out + i * nr * 4, &words[i], 4);
}

}  // namespace

bool wgemm_scalar_prepare(const WgemmShape& s, const float* x, char* out) {
  memcpy(out, x, static_cast<size_t>(s.k) * 4);
  return true;
}

void wgemm_scalar_dot(const WgemmDot& d) {
  const WgemmShape& s = *d.shape;
  const WgemmRow& row = kRows[kRowCount - 1];
  for (int64_t j = 0; j < d.n; j++)
    for (int64_t i = 0; i < d.m; i++) {
      const char* group = d.panels + j / kScalarLanes * row.panel_bytes(s);
      const float* x = reinterpret_cast<const float*>(d.x + i * d.x_row);
      float total = 0;
      for (int64_t g = 0; g < s.groups; g++, group += row.group_bytes(s), x += s.group()) {
        float sum = 0;
        for (int64_t k = 0; k < s.group(); k++) sum += x[k] * value_at(group, s, k, static_cast<int>(j % kScalarLanes));
        total += sum;
      }
      d.y[i * d.y_row + j] = total;
    }
}

void wgemm_scalar_unpack(const WgemmUnpack& u) {
  const WgemmShape& s = *u.shape;
  int64_t g = u.group, k = u.step * kWgemmStep;
  for (int64_t p = 0; p < u.count; p++) {
    const char* group = u.panel + g * kRows[kRowCount - 1].group_bytes(s);
    for (int j = 0; j < kScalarLanes; j++) u.out[p * u.out_row + j] = value_at(group, s, k, j);
    if (++k == s.group()) k = 0, g++;
  }
}

const WgemmRow& wgemm_row() {
  static const WgemmRow& row = select_row(kRows);
  return row;
}

int wgemm_all_rows(const WgemmRow** out) {
  *out = kRows;
  return kRowCount;
}

int wgemm_rows(RowInfo* out, int capacity) {
  for (int i = 0; i < kRowCount && i < capacity; i++)
    out[i] = {"wgemm", "2-8 bit", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &select_row(kRows)};
  return kRowCount;
}

int64_t wgemm_blob_bytes(const WgemmRow& row, const WgemmShape& s) { return static_cast<int64_t>(sizeof(WgemmHeader)) + row.panels(s.n) * row.panel_bytes(s); }

void wgemm_blob_header(const WgemmRow& row, const WgemmShape& s, void* blob) {
  WgemmHeader h{};
  h.magic = kWgemmMagic;
  h.nr = row.nr, h.bits = s.bits, h.affine = s.affine ? 1 : 0;
  h.n = s.n, h.k = s.k, h.groups = s.groups;
  memcpy(blob, &h, sizeof h);
}

int64_t wgemm_pack_panels(const WgemmRow& row, const WgemmShape& s, const WgemmSource& w, int64_t begin, int64_t end, void* blob) {
  const int64_t length = s.group(), steps = s.group_steps(), offset = int64_t(1) << (s.bits - 1), nr = row.nr;
  char* panel = static_cast<char*>(blob) + sizeof(WgemmHeader) + begin * row.panel_bytes(s);
  for (int64_t p = begin; p < end; p++)
    for (int64_t g = 0; g < s.groups; g++, panel += row.group_bytes(s)) {
      memset(panel, 0, static_cast<size_t>(row.group_bytes(s)));
      char* codes = panel + nr * 4 * (s.affine ? 2 : 1);
      for (int64_t j = 0; j < nr && p * nr + j < s.n; j++) {
        const int64_t n = p * nr + j;
        memcpy(panel + 4 * j, w.scale + n * w.scale_row + g * w.scale_col, 4);
        if (s.affine) memcpy(panel + nr * 4 + 4 * j, w.zero + n * w.zero_row + g * w.zero_col, 4);
        const int8_t* q = w.q + n * s.k + g * length;
        for (int64_t step = 0; step < steps; step++) {
          uint8_t u[kWgemmStep] = {};
          for (int64_t k = step * kWgemmStep; k < length && k < (step + 1) * kWgemmStep; k++) {
            const int64_t c = q[k] + offset;
            if (c < 0 || c >= 2 * offset) return n * s.k + g * length + k;
            u[k - step * kWgemmStep] = static_cast<uint8_t>(c);
          }
          char* out = codes + step * s.bits * nr * 4 + 4 * j;
          switch (s.bits) {
            case 2: pack_step<2>(u, out, row.nr); break;
            case 3: pack_step<3>(u, out, row.nr); break;
            case 4: pack_step<4>(u, out, row.nr); break;
            default: pack_step<8>(u, out, row.nr);
          }
        }
      }
    }
  return -1;
}

bool wgemm_blob_open(const WgemmRow& row, const void* blob, int64_t bytes, int64_t n, int64_t k, WgemmShape* s) {
  if (bytes < static_cast<int64_t>(sizeof(WgemmHeader))) return false;
  WgemmHeader h;
  memcpy(&h, blob, sizeof h);
  if (h.magic != kWgemmMagic || h.nr != row.nr || h.n != n || h.k != k || !wgemm_bits_known(h.bits) || (h.affine != 0 && h.affine != 1)) return false;
  if (h.groups < 1 || (k > 0 ? h.groups > k || k % h.groups != 0 : h.groups != 1)) return false;
  s->n = n, s->k = k, s->groups = h.groups, s->bits = h.bits, s->affine = h.affine == 1;
  return bytes == wgemm_blob_bytes(row, *s);
}

}  // namespace tersor
