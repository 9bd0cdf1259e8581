#include "codecs/sparse_code.h"

#include <cstring>
#include <initializer_list>

#include "codecs/bit_model.h"
#include "codecs/crc.h"
#include "codecs/range_coder.h"

namespace tersor {
namespace {

constexpr uint8_t kRaw = 0xA0, kModelled = 0xA1;
constexpr int kDensities = 24, kSizes = 12;
constexpr uint32_t kColumnStrength = 10, kRowStrength = 16;  // what the density seen elsewhere counts for, in elements
constexpr int kFlagRate = 9, kTreeRate = 24;
constexpr int kFlagInputs = 6, kTreeInputs = 5;

// What is known about a column (or the row being coded): elements seen are counted outside.
struct Line {
  uint32_t nonzero;
  uint32_t magnitude;  // sum of |q|, saturating far away
  uint32_t inverse;    // 2^32 / (elements of a row before this column + kRowStrength)
  int8_t last;         // last nonzero value, 0 before
  uint8_t set;         // mixer weights for this distance from the row's begin
};

struct Model {
  BitState neighbours[kDensities][64];
  BitState densities[kDensities][kDensities];
  MixerWeights<kFlagInputs> by_row[16], by_column[16];
  BitState sign[9];
  BitState tree[128], tree_row[kSizes][128], tree_column[kSizes][128], level[8];
  MixerWeights<kTreeInputs> tree_weights[8][8];
};

// 0, 1, 2, 3, 4-5, 6-7, 8-11, ...: two steps an octave.
int log_bucket(uint64_t n, int limit) {
  int b = 0;
  while (n >= 4) {
    n >>= 1;
    b += 2;
  }
  b += static_cast<int>(n);
  return b < limit ? b : limit - 1;
}

// (count + strength * prior) / (seen + strength) as a 16-bit probability; inverse = 2^32 / (seen + strength).
uint32_t shrunk(uint64_t count, uint32_t prior, uint32_t strength, uint32_t inverse) {
  const uint64_t p = ((count << 16) + strength * prior) * inverse >> 32;
  return p < 16 ? 16 : p > 65519 ? 65519 : static_cast<uint32_t>(p);
}

uint32_t inverse_of(uint64_t seen, uint32_t strength) { return static_cast<uint32_t>((uint64_t(1) << 32) / (seen + strength)); }

int density_bucket(int stretched) {
  const int b = (stretched + 12 * 160 + 80) / 160;  // 160 / 256 of log odds a step
  return b < 0 ? 0 : b >= kDensities ? kDensities - 1 : b;
}

struct EncodeBits {
  static constexpr bool decodes = false;
  RangeEncoder& coder;
  int code(int bit, int p) {
    coder.code(bit, static_cast<uint32_t>(p));
    return bit;
  }
};
struct DecodeBits {
  static constexpr bool decodes = true;
  RangeDecoder& coder;
  int code(int, int p) { return coder.code(static_cast<uint32_t>(p)); }
};

template <class Coder> class Walk {
 public:
  Walk(Coder coder, Model* model, Line* columns, int64_t cols, int bits)
      : coder_(coder), m_(*model), columns_(columns), cols_(cols), bits_(bits), stretch_(Stretch::get()) {
    m_ = Model();
    for (int i = 0; i < 16; i++)
      for (auto* set : {&m_.by_row[i], &m_.by_column[i]}) *set = {{40000, 22000, -22000, 8000, 14000, 0}, 0};
    for (auto& depth : m_.tree_weights)
      for (auto& set : depth) set = {{18000, 6000, 6000, 9000, 0}, 0};
    for (int64_t c = 0; c < cols_; c++) columns_[c] = {0, 0, inverse_of(static_cast<uint64_t>(c), kRowStrength), 0, static_cast<uint8_t>(log_bucket(static_cast<uint64_t>(c), 16))};
    for (int n = 0; n < 32; n++) confidence_[n] = static_cast<uint8_t>(log_bucket(static_cast<uint64_t>(n), 8));
  }

  // Codes row `r`; `above` is the row before or nullptr. Encoding only reads q.
  void row(int64_t r, const int8_t* above, int8_t* q) {
    Line line{};
    row_set_ = log_bucket(static_cast<uint64_t>(r), 16);
    row_inverse_ = inverse_of(static_cast<uint64_t>(r), kColumnStrength);
    for (int64_t c = 0; c < cols_; c++) {
      Line& column = columns_[c];
      if (!code_flag(c, line, above, q)) {
        if (Coder::decodes) q[c] = 0;
        continue;
      }
      const int8_t value = code_value(column, line, Coder::decodes ? 0 : q[c]);
      if (Coder::decodes) q[c] = value;
      const uint32_t size = static_cast<uint32_t>(value < 0 ? -value : value);
      for (Line* l : {&column, &line}) {
        l->nonzero++;
        l->magnitude += l->magnitude < 0xF0000000u ? size : 0;
        l->last = value;
      }
      nonzero_++;
      magnitude_ += size;
    }
  }

 private:
  int code_flag(int64_t c, const Line& line, const int8_t* above, const int8_t* q) {
    if (seen_ % 16 == 0) {
      const uint64_t p = ((nonzero_ << 16) + 65536) / (seen_ + 2);
      all_ = p < 16 ? 16 : p > 65519 ? 65519 : static_cast<uint32_t>(p);
    }
    const uint32_t pc = shrunk(columns_[c].nonzero, all_, kColumnStrength, row_inverse_);
    const uint32_t pr = shrunk(line.nonzero, all_, kRowStrength, columns_[c].inverse);
    const int sc = stretch_(pc), sr = stretch_(pr);
    int near = 0;
    if (c > 0) near |= q[c - 1] != 0;
    if (c > 1) near |= (q[c - 2] != 0) << 1;
    if (above) {
      near |= (above[c] != 0) << 2;
      if (c > 0) near |= (above[c - 1] != 0) << 3;
      if (c + 1 < cols_) near |= (above[c + 1] != 0) << 4;
    }
    BitState& n = m_.neighbours[density_bucket(sc)][near];
    BitState& d = m_.densities[density_bucket(sc)][density_bucket(sr)];
    if (n.n() == 0) n.start(pc);
    if (d.n() == 0) d.start(pc);
    const int s[kFlagInputs] = {sc, sr, stretch_(all_), stretch_(n.p()), stretch_(d.p()), 256};
    auto& w1 = m_.by_row[row_set_];
    auto& w2 = m_.by_column[columns_[c].set];
    const int d1 = w1.dot(s), d2 = w2.dot(s);
    const int p = squash((d1 + d2) / 2);
    const int bit = coder_.code(Coder::decodes ? 0 : q[c] != 0, p);
    w1.learn(s, squash(d1), bit, kFlagRate);
    w2.learn(s, squash(d2), bit, kFlagRate);
    n.update(bit, 1000);
    d.update(bit, 1000);
    seen_++;
    return bit;
  }

  int size_bucket(const Line& line) const {
    const uint64_t mean16 = (16 * static_cast<uint64_t>(line.magnitude) + 2 * mean_) / (line.nonzero + 2);
    const int b = log_bucket(mean16 >> 2, 2 * kSizes) - kSizes / 4;
    return b < 0 ? 0 : b >= kSizes ? kSizes - 1 : b;
  }

  int8_t code_value(const Line& column, const Line& line, int8_t value) {
    mean_ = nonzero_ ? 16 * magnitude_ / nonzero_ : 16;
    const auto trend = [](int8_t v) { return v > 0 ? 2 : v < 0 ? 1 : 0; };
    BitState& s = m_.sign[3 * trend(column.last) + trend(line.last)];
    int ps = static_cast<int>(s.p());
    ps = ps < 32 ? 32 : ps > 65504 ? 65504 : ps;
    const int negative = coder_.code(value < 0, ps);
    s.update(negative, 1000);

    const int rows = size_bucket(line), columns = size_bucket(column);
    const int want = (value < 0 ? -value : value) - 1;
    int node = 1;
    for (int depth = 0; depth < bits_; depth++) {
      BitState& a = m_.tree[node];
      BitState& b = m_.tree_row[rows][node];
      BitState& c = m_.tree_column[columns][node];
      BitState& l = m_.level[depth];
      const uint32_t known = a.n();
      if (a.n() == 0) a.start(l.p());
      if (b.n() == 0) b.start(a.p());
      if (c.n() == 0) c.start(a.p());
      const int in[kTreeInputs] = {stretch_(a.p()), stretch_(b.p()), stretch_(c.p()), stretch_(l.p()), 256};
      auto& w = m_.tree_weights[depth][known < 32 ? confidence_[known] : 7];
      const int p = squash(w.dot(in));
      const int bit = coder_.code(want >> (bits_ - 1 - depth) & 1, p);
      w.learn(in, p, bit, kTreeRate);
      l.update(bit, 250);
      a.update(bit, 1000);
      b.update(bit, 1000);
      c.update(bit, 1000);
      node = 2 * node + bit;
    }
    const int size = node - (1 << bits_) + 1;
    return static_cast<int8_t>(negative ? -size : size);
  }

  Coder coder_;
  Model& m_;
  Line* columns_;
  int64_t cols_;
  int bits_;
  const Stretch& stretch_;
  uint64_t nonzero_ = 0, seen_ = 0, magnitude_ = 0, mean_ = 16;
  uint32_t all_ = 0, row_inverse_ = 0;
  int row_set_ = 0;
  uint8_t confidence_[32];
};

int64_t put_header(uint8_t* out, uint8_t kind, int64_t rows, int64_t cols, uint32_t crc) {
  int64_t at = 0;
  out[at++] = kind;
  for (uint64_t v : {static_cast<uint64_t>(rows), static_cast<uint64_t>(cols)}) {
    for (; v >= 128; v >>= 7) out[at++] = static_cast<uint8_t>(v | 128);
    out[at++] = static_cast<uint8_t>(v);
  }
  for (int i = 0; i < 4; i++) out[at++] = static_cast<uint8_t>(crc >> (8 * i));
  return at;
}

// Reads a varint of at most nine bytes; false at the end of the code or when it is not the shortest form.
bool get_varint(const uint8_t* code, int64_t bytes, int64_t* at, int64_t* out) {
  uint64_t v = 0;
  for (int shift = 0; shift < 63; shift += 7) {
    if (*at >= bytes) return false;
    const uint8_t byte = code[(*at)++];
    v |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) {
      *out = static_cast<int64_t>(v);
      return byte != 0 || shift == 0;
    }
  }
  return false;
}

Status bad(const char* what) { return fail(Code::model_format, "sparse_decode: %s", what); }

bool cancelled(const Cancel* cancel) { return cancel && cancel->load(std::memory_order_relaxed); }

}  // namespace

int64_t sparse_code_bound(int64_t rows, int64_t cols) { return rows * cols + 24; }

int64_t sparse_code_workspace(int64_t cols) {
  return static_cast<int64_t>(sizeof(Model)) + cols * static_cast<int64_t>(sizeof(Line));
}

Status sparse_code_encode(const int8_t* q, int64_t rows, int64_t cols, void* workspace, const Cancel* cancel, uint8_t* out, int64_t* bytes) {
  const int64_t n = rows * cols;
  const uint32_t crc = crc32(q, n);
  int largest = 0;
  for (int64_t i = 0; i < n; i++) {
    const int size = q[i] < 0 ? -q[i] : q[i];
    largest = size > largest ? size : largest;
  }
  int bits = 0;
  while ((largest - 1) >> bits > 0) bits++;
  const int64_t head = put_header(out, kModelled, rows, cols, crc);
  out[head] = static_cast<uint8_t>(bits);
  RangeEncoder coder(out + head + 1, n - 1);
  if (n > 1) {
    Model* model = static_cast<Model*>(workspace);
    Line* columns = reinterpret_cast<Line*>(model + 1);
    Walk<EncodeBits> walk({coder}, model, columns, cols, bits);
    for (int64_t r = 0; r < rows && !coder.full(); r++) {
      if (cancelled(cancel)) return fail(Code::aborted, "sparse_encode: cancelled");
      walk.row(r, r ? q + (r - 1) * cols : nullptr, const_cast<int8_t*>(q) + r * cols);
    }
    if (!coder.full()) {
      const int64_t size = coder.finish();
      if (!coder.full()) {
        *bytes = head + 1 + size;
        return {};
      }
    }
  }
  put_header(out, kRaw, rows, cols, crc);
  if (n) memcpy(out + head, q, static_cast<size_t>(n));
  *bytes = head + n;
  return {};
}

Status sparse_code_decode(const uint8_t* code, int64_t bytes, int64_t rows, int64_t cols, void* workspace, const Cancel* cancel, int8_t* q) {
  int64_t at = 1, r, c;
  if (bytes < 1 || (code[0] != kRaw && code[0] != kModelled)) return bad("the code begins with an unknown byte");
  if (!get_varint(code, bytes, &at, &r) || !get_varint(code, bytes, &at, &c) || bytes - at < 4) return bad("the header is cut short");
  if (r != rows || c != cols)
    return fail(Code::model_format, "sparse_decode: the code holds a matrix [%lld,%lld], asked for [%lld,%lld]", static_cast<long long>(r),
                static_cast<long long>(c), static_cast<long long>(rows), static_cast<long long>(cols));
  uint32_t crc = 0;
  for (int i = 0; i < 4; i++) crc |= static_cast<uint32_t>(code[at++]) << (8 * i);
  const int64_t n = rows * cols;
  if (code[0] == kRaw) {
    if (bytes - at != n) return bad("the length of a raw matrix is wrong");
    if (n) memcpy(q, code + at, static_cast<size_t>(n));
  } else {
    if (bytes - at < 1 || code[at] > 7) return bad("the number of magnitude bits is missing or above 7");
    if (n == 0) return bad("an empty matrix is stored raw");
    const int bits = code[at++];
    RangeDecoder coder(code + at, bytes - at);
    Model* model = static_cast<Model*>(workspace);
    Walk<DecodeBits> walk({coder}, model, reinterpret_cast<Line*>(model + 1), cols, bits);
    for (int64_t i = 0; i < rows; i++) {
      if (cancelled(cancel)) return fail(Code::aborted, "sparse_decode: cancelled");
      walk.row(i, i ? q + (i - 1) * cols : nullptr, q + i * cols);
    }
    if (coder.consumed() < bytes - at || (bytes > at && code[bytes - 1] == 0)) return bad("there are bytes behind the end");
  }
  if (crc32(q, n) != crc) return bad("the checksum is wrong: the code is damaged");
  return {};
}

}  // namespace tersor
