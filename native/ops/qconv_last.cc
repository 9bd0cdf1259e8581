#include "ops/qconv_last.h"

#include <cmath>
#include <cstring>

#include "ops/slots.h"

namespace tersor {
namespace {

constexpr int64_t kRowsAtOnce = 48;                  // of A: tiles of 6, 8 and 16 rows fit, and the sums of 192 columns stay in L1
constexpr int64_t kColumnsAtOnce = 192;              // panels of 48 and of 64
constexpr int64_t kMost = int64_t(1) << 30;

int64_t round64(int64_t n) { return (n + 63) / 64 * 64; }

struct Task {
  const QconvCall& call;
  const GroupedShape& s;
  const QconvPacking& packing;
  const uint8_t* image;  // codes [B,H,W,C]; null where depthwise reads floats
  const float *scale, *bias, *residual;
  bool tame = false;

  // What becomes of the sums of columns [from, from + columns) of output pixels [first, first + rows).
  QconvFinish end(const int32_t* sums, int64_t sums_row, int64_t first, int64_t rows, int64_t from, int64_t columns) const {
    QconvFinish f;
    f.sums = sums, f.sums_row = sums_row, f.rows = rows, f.columns = columns;
    f.scale = scale + from, f.bias = bias ? bias + from : nullptr;
    const int64_t at = first * s.out + from;
    f.residual = residual ? residual + at : nullptr, f.residual_row = s.out;
    f.act = call.act, f.tame = tame, f.codes = call.codes, f.y_scale = call.y_scale, f.y_zero = call.y_zero;
    f.y = call.codes ? static_cast<void*>(static_cast<uint8_t*>(call.y) + at) : static_cast<void*>(static_cast<float*>(call.y) + at);
    f.y_row = s.out;
    return f;
  }
};

// The promise of QconvFinish, from the largest sums that K products of codes can have.
bool is_tame(const Task& t) {
  if (t.residual) return false;
  constexpr double kMostValue = 1e18;  // below 2^60
  const ConvFinish& act = t.call.act;
  const double sum = 255.0 * 128.0 * static_cast<double>(t.packing.depth());
  double most = 1;  // a sigmoid's
  for (int64_t c = 0; c < t.s.out; c++) {
    const double v = sum * std::abs(static_cast<double>(t.scale[c])) + (t.bias ? std::abs(static_cast<double>(t.bias[c])) : 0);
    if (!(v < kMostValue)) return false;
    most = v > most ? v : most;
  }
  // clip gives one of its bounds where they exclude v: they are bounds of tame values, or infinite on a side that v does not reach.
  if (act.act == ConvAct::clip && !(act.lo < kMostValue && act.hi > -kMostValue)) return false;
  return most * std::abs(static_cast<double>(act.scale)) + std::abs(static_cast<double>(act.shift)) < kMostValue;
}

// --- x as codes ---

// Quantizes x, f32 of any strides, to [B,H,W,C].
Status quantize_image(const QconvCall& call, const GroupedShape& s, uint8_t* out, const Cancel* cancel) {
  const QgemmWidth& width = *qgemm_row(kRowsAtOnce).width;
  const TensorRef& x = call.x;
  const int64_t row = s.width * s.in;
  const bool planes = !x.contiguous() && s.in > 1 && x.stride[2] == 1;  // channels first: rows of one channel are quantized, then mixed
  Contiguous whole;
  if (!planes) {
    TERSOR_TRY(whole.open(call.op, x, cancel));
    const int64_t all = s.batch * s.height * row, part = 4096;
    return parallel_for((all + part - 1) / part, 8, cancel, [&](int64_t begin, int64_t end) {
      const int64_t from = begin * part, to = end * part < all ? end * part : all;
      width.quantize({whole.as<float>() + from, to - from, call.x_scale, call.x_zero, out + from});
    });
  }
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(call.op, s.width, s.batch * s.height));
  return parallel_for(s.batch * s.height, grain_for(row), cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    uint8_t* const codes = slot.as<uint8_t>();
    for (int64_t i = begin; i < end; i++) {
      const float* const from = x.as<float>() + i / s.height * x.stride[0] + i % s.height * x.stride[1];
      uint8_t* const to = out + i * row;
      for (int64_t c = 0; c < s.in; c++) {
        width.quantize({from + c * x.stride[3], s.width, call.x_scale, call.x_zero, codes});
        for (int64_t j = 0; j < s.width; j++) to[j * s.in + c] = codes[j];
      }
    }
  });
}

// --- dense: rows of taps times packed filters ---

// At most 15 bytes too many are read and written; what is too much is written again by the next run, or lies in the slack.
inline uint8_t* copy_run(uint8_t* to, const uint8_t* from, int64_t n) {
  if (n > 512) {
    memcpy(to, from, static_cast<size_t>(n));
  } else {
    for (int64_t i = 0; i < n; i += 16) memcpy(to + i, from + i, 16);
  }
  return to + n;
}
inline uint8_t* fill_run(uint8_t* to, uint8_t value, int64_t n) {
  memset(to, value, static_cast<size_t>(n));
  return to + n;
}

// The taps of output pixels [first, first + count) as rows of A, `pitch` bytes apart, with 16 bytes of slack behind the last.
void gather(const Task& t, int64_t group, int64_t first, int64_t count, uint8_t* out, int64_t pitch) {
  const GroupedShape& s = t.s;
  const uint8_t zero = static_cast<uint8_t>(t.call.x_zero);
  const int64_t line = s.width * s.in, run = s.kw * s.in;
  const bool joined = s.groups == 1 && s.dw == 1;  // the taps of a row of a filter are one run
  const uint8_t* const from = t.image + group * s.group_in;
  int64_t ox = first % s.out_w, oy = first / s.out_w % s.out_h, b = first / (s.out_w * s.out_h);
  for (int64_t i = 0; i < count; i++) {
    uint8_t* to = out + i * pitch;
    const uint8_t* const plane = from + b * s.height * line;
    const int64_t y0 = oy * s.sh - s.top, x0 = ox * s.sw - s.left;
    for (int64_t ky = 0; ky < s.kh; ky++) {
      const int64_t y = y0 + ky * s.dh;
      if (y < 0 || y >= s.height) {
        to = fill_run(to, zero, s.kw * s.group_in);
      } else if (joined && x0 >= 0 && x0 + s.kw <= s.width) {
        to = copy_run(to, plane + y * line + x0 * s.in, run);
      } else {
        const uint8_t* at = plane + y * line + x0 * s.in;
        for (int64_t kx = 0, x = x0; kx < s.kw; kx++, x += s.dw, at += s.dw * s.in)
          to = static_cast<uint64_t>(x) < static_cast<uint64_t>(s.width) ? copy_run(to, at, s.group_in) : fill_run(to, zero, s.group_in);
      }
    }
    if (++ox < s.out_w) continue;
    ox = 0;
    if (++oy == s.out_h) oy = 0, b++;
  }
}

Status run_dense(const Task& t, const Cancel* cancel) {
  const GroupedShape& s = t.s;
  const QconvPacking& p = t.packing;
  const int64_t k = p.depth(), pixels = s.batch * s.out_h * s.out_w;
  const bool direct = p.taps == 1 && s.groups == 1 && s.sh == 1 && s.sw == 1 && s.out_h == s.height && s.out_w == s.width && s.top == 0 && s.left == 0;
  int64_t pitch = qgemm_layout().depth(k);
  if (pitch % 1024 == 0) pitch += 64;  // rows of A should not all fall into the same sets of the cache
  const int64_t chunks = (pixels + kRowsAtOnce - 1) / kRowsAtOnce;
  const int64_t blocks = (p.group_out + kColumnsAtOnce - 1) / kColumnsAtOnce;
  // Small images are cut by columns too, so that no thread waits long for the last task.
  const int64_t threads = thread_count(), wanted = threads > 1 ? (4 * threads + chunks - 1) / chunks : 1, pieces = wanted < blocks ? wanted : blocks;
  const int64_t sums_row = (p.group_out + 15) / 16 * 16 + 16;
  const int64_t a_bytes = direct ? 0 : round64(kRowsAtOnce * pitch + 64);
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(t.call.op, a_bytes + kRowsAtOnce * sums_row * 4, chunks * pieces));
  const char* const blobs = static_cast<const char*>(t.call.packed) + sizeof(QconvHeader);
  const int32_t zero = t.call.x_zero;
  return parallel_for(chunks * pieces, grain_for(kRowsAtOnce * k * s.out / pieces / 32), cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    uint8_t* const a = slot.as<uint8_t>();
    int32_t* const sums = reinterpret_cast<int32_t*>(a + a_bytes);
    for (int64_t i = begin; i < end; i++) {
      const int64_t first = i / pieces * kRowsAtOnce, count = pixels - first < kRowsAtOnce ? pixels - first : kRowsAtOnce, piece = i % pieces;
      for (int64_t group = 0; group < s.groups; group++) {
        const QgemmCodes codes = direct ? QgemmCodes{t.image + first * s.in, s.in, false} : QgemmCodes{a, pitch, false};
        if (!direct && (i == begin || piece == 0 || s.groups > 1)) gather(t, group, first, count, a, pitch);
        const void* const blob = blobs + group * p.blob();
        QgemmFinish f;
        f.x_zero = &zero, f.column = zero ? qgemm_blob_sums(blob) : nullptr;
        f.y = sums, f.y_row = sums_row;
        for (int64_t block = blocks * piece / pieces; block < blocks * (piece + 1) / pieces; block++) {
          const int64_t n0 = block * kColumnsAtOnce, n1 = n0 + kColumnsAtOnce < p.group_out ? n0 + kColumnsAtOnce : p.group_out;
          qgemm_part(codes, 0, count, blob, n0, n1, k, {0, k}, f);
          qconv_row().finish(t.end(sums + n0, sums_row, first, count, group * p.group_out + n0, n1 - n0));
        }
      }
    }
  });
}

// --- depthwise: rows of a few channels as whole numbers in f32, whose products are exact ---

// What a task works on: the rows of an image that a row of output needs, of `most` channels, padded to `wide` pixels; each row is made once and kept while it is
// needed. They stay in L1 beside the rest: an image as f32 would come from L2 for each of kh rows of output.
struct Rows {
  static constexpr int64_t kBytes = 28 << 10;
  int64_t span, wide, most;
  explicit Rows(const GroupedShape& s) : span(s.span_h() + 1), wide((s.out_w - 1) * s.sw + s.span_w() + 1) {
    const int64_t fit = kBytes / (span * wide * 4) / 16 * 16;
    most = fit < 16 ? 16 : fit < 64 ? fit : 64;
  }
  int64_t row() const { return wide * most; }
  int64_t floats() const { return (span + 1) * row(); }  // one more of zeros
};

Status run_depthwise(const Task& t, const TensorRef& x, const void* data, const Cancel* cancel) {
  const GroupedShape& s = t.s;
  const Rows shape(s);
  const bool codes = x.dtype == DType::u8;
  const int64_t blocks = (s.out + shape.most - 1) / shape.most, images = s.batch * blocks;
  // Cut by rows too where channels and images are few; each part makes the rows above its own again.
  const int64_t threads = thread_count(), wanted = threads > 1 ? (3 * threads + images - 1) / images : 1, parts = wanted < s.out_h ? wanted : s.out_h;
  const int64_t image_bytes = round64(shape.floats() * 4);
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(t.call.op, image_bytes + s.kh * 8, images * parts));
  const float* const filters = reinterpret_cast<const float*>(static_cast<const char*>(t.call.packed) + sizeof(QconvHeader));
  const int64_t live = s.width < shape.wide - s.left ? s.width : shape.wide - s.left;  // columns of the image that any tap reads
  return parallel_for(images * parts, grain_for(s.out_h * s.out_w * shape.most * t.packing.taps / (16 * parts)), cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    float* const image = slot.as<float>();
    const float** const rows = reinterpret_cast<const float**>(slot.as<char>() + image_bytes);
    memset(image, 0, static_cast<size_t>(image_bytes));  // padding stays so
    for (int64_t task = begin; task < end; task++) {
      const int64_t part = task % parts, c = task / parts % blocks * shape.most, b = task / parts / blocks, channels = s.out - c < shape.most ? s.out - c : shape.most;
      int64_t made = 0;
      for (int64_t r = s.out_h * part / parts; r < s.out_h * (part + 1) / parts; r++) {
        const int64_t y0 = r * s.sh - s.top, reach = y0 + shape.span < s.height ? y0 + shape.span : s.height;
        for (int64_t y = made > y0 ? made : y0 > 0 ? y0 : 0; y < reach && live > 0; y++) {
          const int64_t from = (b * s.height + y) * s.width * s.in + c;
          const void* const at = codes ? static_cast<const void*>(static_cast<const uint8_t*>(data) + from) : static_cast<const void*>(static_cast<const float*>(data) + from);
          qconv_row().grid({at, codes, t.call.x_scale, t.call.x_zero, live, channels, s.in, shape.most, image + y % shape.span * shape.row() + s.left * shape.most});
          made = y + 1;
        }
        for (int64_t ky = 0; ky < s.kh; ky++) {
          const int64_t y = y0 + ky * s.dh;
          rows[ky] = image + (y < 0 || y >= s.height ? shape.span : y % shape.span) * shape.row();
        }
        const int64_t first = (b * s.out_h + r) * s.out_w;
        qconv_row().deep({rows, s.kh, s.kw, s.sw * shape.most, s.dw * shape.most, s.out_w, channels, filters + c, t.packing.row(), t.end(nullptr, 0, first, s.out_w, c, channels)});
      }
    }
  });
}

}  // namespace

Status qconv_check_filters(const char* op, const int64_t w[4], int64_t groups) {
  if (groups < 1 || groups > kMost) return fail(Code::option, "%s: groups must be in [1, 2^30], got %lld", op, static_cast<long long>(groups));
  for (int i = 0; i < 4; i++)
    if (w[i] < 0 || w[i] > kMost) return fail(Code::limit, "%s: dimension %d of the filters must be in [0, 2^30], got %lld", op, i, static_cast<long long>(w[i]));
  if (w[0] % groups != 0)
    return fail(Code::shape, "%s: %lld filters are no multiple of %lld groups", op, static_cast<long long>(w[0]), static_cast<long long>(groups));
  // Factors first, so that the product cannot overflow.
  if (w[1] > kQconvDeepest || w[2] > kQconvDeepest || w[3] > kQconvDeepest || w[1] * w[2] > kQconvDeepest || w[1] * w[2] * w[3] > kQconvDeepest)
    return fail(Code::limit, "%s: a filter must have at most %lld values (32-bit sums stay exact), got %lld * %lld * %lld", op, static_cast<long long>(kQconvDeepest),
                static_cast<long long>(w[1]), static_cast<long long>(w[2]), static_cast<long long>(w[3]));
  return {};
}

Status qconv_pack(const char* op, const int8_t* w, const QconvPacking& p, void* packed, const Cancel* cancel) {
  const QconvHeader header = p.header();
  memset(packed, 0, static_cast<size_t>(header.bytes));
  memcpy(packed, &header, sizeof header);
  char* const to = static_cast<char*>(packed) + sizeof header;
  if (p.depthwise) {
    float* const filters = reinterpret_cast<float*>(to);
    for (int64_t o = 0; o < p.out; o++)
      for (int64_t t = 0; t < p.taps; t++) filters[t * p.row() + o] = static_cast<float>(w[o * p.taps + t]);
    return {};
  }
  Scratch rows;  // of a group: taps outside, channels inside
  TERSOR_TRY(rows.reserve(op, p.group_out * p.depth()));
  for (int64_t g = 0; g < p.groups; g++) {
    for (int64_t o = 0; o < p.group_out; o++) {
      const int8_t* const from = w + (g * p.group_out + o) * p.depth();
      int8_t* const row = rows.as<int8_t>() + o * p.depth();
      for (int64_t c = 0; c < p.group_in; c++)
        for (int64_t t = 0; t < p.taps; t++) row[t * p.group_in + c] = from[c * p.taps + t];
    }
    TERSOR_TRY(qgemm_pack_parallel(op, rows.as<int8_t>(), p.depth(), p.group_out, p.depth(), to + g * p.blob(), cancel));
  }
  return {};
}

Status qconv_run(const QconvCall& call, const GroupedShape& s, const QconvPacking& packing, const Cancel* cancel) {
  Contiguous x, bias, residual;
  Scratch scales, codes;
  if (call.bias->present()) TERSOR_TRY(bias.open(call.op, *call.bias, cancel));
  if (call.residual->present()) TERSOR_TRY(residual.open(call.op, *call.residual, cancel));
  TERSOR_TRY(qgemm_scales(call.op, *call.w_scale, s.out, static_cast<double>(call.x_scale), &scales));
  float* const scale = scales.as<float>();
  Task t{call, s, packing, nullptr, scale, call.bias->present() ? bias.as<float>() : nullptr, call.residual->present() ? residual.as<float>() : nullptr};
  t.tame = is_tame(t);
  if (packing.depthwise || call.x.dtype == DType::u8) TERSOR_TRY(x.open(call.op, call.x, cancel));
  if (packing.depthwise) return run_depthwise(t, call.x, x.data(), cancel);
  if (call.x.dtype == DType::u8) {
    t.image = x.as<uint8_t>();
  } else {
    TERSOR_TRY(codes.reserve(call.op, s.batch * s.height * s.width * s.in));
    TERSOR_TRY(quantize_image(call, s, codes.as<uint8_t>(), cancel));
    t.image = codes.as<uint8_t>();
  }
  return run_dense(t, cancel);
}

}  // namespace tersor
