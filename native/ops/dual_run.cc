// dual_run.h
#include "ops/dual_run.h"

namespace tersor {

Status dual_check_options(const char* op, int64_t k, int64_t copies, int64_t exactly, int64_t rows) {
  if (k < 1 || k >= (int64_t(1) << 31)) return fail(Code::option, "%s: k must be in [1, 2^31), got %lld", op, static_cast<long long>(k));
  if (copies < 1 || copies > 2) return fail(Code::option, "%s: copies must be 1 or 2, got %lld", op, static_cast<long long>(copies));
  if (exactly < -1 || exactly > rows)
    return fail(Code::option, "%s: insensitive must be -1 (by thresholds) or a number of the %lld rows, got %lld", op, static_cast<long long>(rows),
                static_cast<long long>(exactly));
  return {};
}

Status dual_check_vector(const char* op, const char* name, const TensorRef& t, int64_t n) {
  TERSOR_TRY(expect_dtype(op, name, t, DType::f32));
  return expect_shape(op, name, t, &n, 1);
}

Status dual_check_weight(const char* op, const char* name, const TensorRef& w, const char* scale_name, const TensorRef& scale) {
  TERSOR_TRY(expect_rank(op, name, w, 2));
  if (w.dtype != DType::f32 && w.dtype != DType::i8) return fail(Code::dtype, "%s: %s must be f32 or i8, got %s", op, name, TERSOR_TEXT(w));
  if (w.shape[0] > INT32_MAX) return fail(Code::limit, "%s: %s must have at most 2^31 - 1 rows, got %s", op, name, TERSOR_TEXT(w));
  if (scale.present() != (w.dtype == DType::i8))
    return fail(Code::option, "%s: %s: i8 weights need a scale and f32 weights take none (%s: %s)", op, scale_name, name, TERSOR_TEXT(w));
  return scale.present() ? dual_check_vector(op, scale_name, scale, w.shape[0]) : Status{};
}

Status dual_check_little(const char* op, const char* name, const TensorRef& projection, const TensorRef& little, int64_t k, int64_t copies, int64_t rows,
                         int64_t cols) {
  if (projection.present()) {
    if (cols >= (int64_t(1) << 31)) return fail(Code::option, "%s: a projection has less than 2^31 inputs, got %lld", op, static_cast<long long>(cols));
    const int64_t bytes = ternary_blob_bytes(rows_row(), k, cols);
    TERSOR_TRY(expect_dtype(op, "projection", projection, DType::u8));
    TERSOR_TRY(expect_shape(op, "projection", projection, &bytes, 1));
  } else if (k != cols) {
    return fail(Code::option, "%s: without a projection k must be the %lld inputs, got %lld", op, static_cast<long long>(cols), static_cast<long long>(k));
  }
  if (little.dtype == DType::f32 && little.rank == 2) {
    const int64_t shape[2] = {rows, k};
    TERSOR_TRY(expect_shape(op, name, little, shape, 2));
    return copies == 1 ? Status{} : fail(Code::option, "%s: f32 values in %s have one copy, got %lld", op, name, static_cast<long long>(copies));
  }
  return wgemm_check_packed(op, little, rows, copies * k);
}

Status DualLittle::open(const char* op, const TensorRef& projection, const TensorRef& little, int64_t k, int64_t copies, int64_t rows, int64_t cols, int64_t m,
                        Context& ctx) {
  op_ = op, projection_ = projection, little_ = little, k_ = k, copies_ = copies, rows_ = rows, cols_ = cols, ctx_ = &ctx;
  if (projection.present() && !(projection.contiguous() && ternary_blob_fits(rows_row(), projection.data, projection.shape[0], k, cols)))
    return fail(Code::option, "%s: projection was not made by ternary_pack for a [%lld,%lld] projection and the kernel row %s", op, static_cast<long long>(k),
                static_cast<long long>(cols), rows_row().function);
  WgemmShape s;
  if (little.dtype == DType::u8) TERSOR_TRY(wgemm_open(op, little, rows, copies * k, &s));
  if (projection.present()) TERSOR_TRY(projected_.reserve(op, m * k * 4));
  return copies > 1 ? doubled_.reserve(op, m * copies * k * 4) : Status{};
}

Status DualLittle::run(const float* x, int64_t m, const TensorRef& bias, float* y) {
  if (m == 0 || rows_ == 0) return {};
  const float* p = x;
  if (projection_.present()) {
    ternary_project_args a{};
    a.x = dual_ref(x, DType::f32, {m, cols_}), a.packed = projection_, a.out = k_;
    a.y = dual_ref(projected_.as<float>(), DType::f32, {m, k_});
    TERSOR_TRY(ternary_project_cpu(a, *ctx_));
    p = projected_.as<float>();
  }
  if (copies_ > 1) {
    for (int64_t i = 0; i < 2 * m; i++) memcpy(doubled_.as<float>() + i * k_, p + i / 2 * k_, static_cast<size_t>(k_) * 4);
    p = doubled_.as<float>();
  }
  const int64_t wide = copies_ * k_;
  if (little_.dtype == DType::f32) {
    linear_args a{};
    a.x = dual_ref(p, DType::f32, {m, wide}), a.w = little_, a.bias = bias, a.y = dual_ref(y, DType::f32, {m, rows_});
    return linear_cpu(a, *ctx_);
  }
  wgemm_args a{};
  a.x = dual_ref(p, DType::f32, {m, wide}), a.packed = little_, a.bias = bias, a.out = rows_, a.act = activation::none;
  a.y = dual_ref(y, DType::f32, {m, rows_});
  return wgemm_cpu(a, *ctx_);
}

int64_t dual_select(const DualRule& rule, const float* y, int64_t n, int64_t first, uint32_t* keys, int32_t* list) {
  int64_t count = 0;
  if (rule.exactly == 0) {
    for (; count < n; count++) list[count] = static_cast<int32_t>(first + count);
  } else if (rule.exactly < 0) {
    for (int64_t from = 0; from < n; from += rule.run) {
      const int64_t end = from + rule.run < n ? from + rule.run : n;
      const float t = rule.thresholds[from / rule.run];
      for (int64_t j = from; j < end; j++) {
        list[count] = static_cast<int32_t>(first + j);
        count += rule.below ? !(y[j] < t) : !(std::fabs(y[j]) > t);
      }
    }
  } else if (rule.exactly >= n) {
    for (int64_t j = 0; j < n; j++) {
      list[count] = static_cast<int32_t>(first + j);
      count += y[j] != y[j];
    }
  } else {
    uint32_t* const copy = keys + n;
    for (int64_t j = 0; j < n; j++) copy[j] = keys[j] = key_of(rule.below ? -y[j] : y[j], !rule.below);
    const Threshold<uint32_t> t = select_key(copy, n, rule.exactly, uint32_t(0), ~uint32_t(0));
    int64_t ties = rule.exactly - t.above;
    for (int64_t j = 0; j < n; j++) {
      const bool tie = keys[j] == t.key && ties > 0;
      ties -= tie;
      list[count] = static_cast<int32_t>(first + j);
      count += keys[j] == 0 || !(tie || keys[j] > t.key);  // 0: NaN
    }
  }
  return count;
}

Status DualPart::open(const char* op, const TensorRef& weight, const TensorRef& steps, Contiguous* w_copy, Contiguous* scale_copy, const Cancel* cancel) {
  w = weight;
  if (w.shape[1] > 1 && w.stride[1] != 1) {  // a copy touches everything; the caller asked for it with such a view
    TERSOR_TRY(w_copy->open(op, weight, cancel));
    set_shape(w, weight.dtype, weight.shape, 2);
    w.data = const_cast<void*>(w_copy->data());
  }
  if (!steps.present()) return {};
  TERSOR_TRY(scale_copy->open(op, steps, cancel));
  scale = scale_copy->as<float>();
  return {};
}

void DualPart::run(const int32_t* list, int64_t count, int64_t m, int64_t begin, int64_t end) const {
  RowsDot d;
  d.w = w.data, d.w_row = w.stride[0], d.k = w.shape[1];
  d.index = list + begin, d.count = end - begin, d.more = count - end;
  d.x = x, d.m = m, d.x_row = d.k;
  d.scale = scale, d.scale_step = 1;
  d.y = out + begin, d.y_row = count;
  (w.dtype == DType::i8 ? rows_row().dot_i8 : rows_row().dot_f32)(d);
}

Status DualLists::reserve(const char* op, int64_t batch, int64_t rows, bool keys) {
  batch_ = batch, rows_ = rows;
  if (keys) TERSOR_TRY(keys_.reserve(op, 2 * rows * 4));
  TERSOR_TRY(lists_.reserve(op, (batch + 1) * rows * 4));
  TERSOR_TRY(counts_.reserve(op, (batch + 1) * 8));
  return batch > 1 ? mask_.reserve(op, (batch + 1) * rows) : Status{};
}

// Marks the lists and makes their union; gives its length.
int64_t DualLists::join(int64_t batch) {
  uint8_t* mask = mask_.as<uint8_t>();
  uint8_t* any = mask + batch_ * rows_;
  memset(mask, 0, static_cast<size_t>((batch_ + 1) * rows_));
  for (int64_t b = 0; b < batch; b++)
    for (int64_t s = 0; s < count(b); s++) mask[b * rows_ + list(b)[s]] = any[list(b)[s]] = 1;
  joined_ = 0;
  for (int64_t r = 0; r < rows_; r++) {
    list(batch_)[joined_] = static_cast<int32_t>(r);
    joined_ += any[r];
  }
  return joined_;
}

// Entries of a list, shared among the threads. Sample `first` (and the others of a union) gets what its mask names.
Status DualLists::exact(const DualPart* parts, int n, const int32_t* list, int64_t count, int64_t first, int64_t m, const DualSink* sinks, int sinks_n,
                        const Cancel* cancel) {
  int64_t cost = 0;
  for (int p = 0; p < n; p++) cost += parts[p].w.shape[1] * m;
  const int64_t grain = (4 * grain_for(cost + 1) + 31) / 32 * 32;
  const uint8_t* mask = mask_.as<uint8_t>();
  return parallel_for(count, grain, cancel, [&](int64_t begin, int64_t end) {
    for (int p = 0; p < n; p++) parts[p].run(list, count, m, begin, end);
    for (int q = 0; q < sinks_n; q++) {
      const DualSink& k = sinks[q];
      for (int64_t i = 0; i < m; i++)
        for (int64_t s = begin; s < end; s++) {
          const int64_t b = first + i, row = list[s];
          if (m > 1 && !mask[b * rows_ + row]) continue;
          float sums[2] = {0, 0};
          const int from[2] = {k.first, k.second};
          for (int h = 0; h < 2; h++) {
            if (from[h] >= 0) sums[h] = parts[from[h]].out[i * count + s];
            if (k.add[h]) sums[h] += k.add[h][b * k.add_row[h] + row];
          }
          k.y[b * k.y_row + row] = sums[0] + sums[1];
        }
    }
  });
}

Status DualLists::run(const DualPart* parts, int n, int64_t batch, const DualSink* sinks, int sinks_n, const Cancel* cancel) {
  int64_t sum = 0;
  for (int64_t b = 0; b < batch; b++) sum += count(b);
  if (batch > 1 && 2 * join(batch) <= sum) return exact(parts, n, list(batch_), joined_, 0, batch, sinks, sinks_n, cancel);
  for (int64_t b = 0; b < batch; b++) {
    DualPart own[2];
    for (int p = 0; p < n; p++) own[p] = parts[p], own[p].x += b * parts[p].w.shape[1];
    TERSOR_TRY(exact(own, n, list(b), count(b), b, 1, sinks, sinks_n, cancel));
  }
  return {};
}

}  // namespace tersor
