#include "cuda/test/device_call.h"

#include <cmath>
#include <cstdlib>

#include "base/float16.h"
#include "ops/schema.h"

extern "C" const tersor::Backend* tersor_backend();

namespace tersor {
namespace test {
namespace {

Status g_open;

tersor_stream* open_stream() {
  tersor_stream* s = nullptr;
  g_open = backend().open(0, &s);
  if (!g_open.ok()) {
    fprintf(stderr, "the device cannot be opened: %s\n", g_open.message);
    exit(3);
  }
  return s;
}

double element(DType dtype, const char* p) {
  switch (dtype) {
    case DType::f16: return static_cast<double>(f32_from_f16(*reinterpret_cast<const uint16_t*>(p)));
    case DType::bf16: return static_cast<double>(f32_from_bf16(*reinterpret_cast<const uint16_t*>(p)));
    case DType::f64: return *reinterpret_cast<const double*>(p);
    case DType::f32: return static_cast<double>(*reinterpret_cast<const float*>(p));
    case DType::i64: return static_cast<double>(*reinterpret_cast<const int64_t*>(p));
    case DType::i32: return *reinterpret_cast<const int32_t*>(p);
    case DType::i16: return *reinterpret_cast<const int16_t*>(p);
    case DType::u16: return *reinterpret_cast<const uint16_t*>(p);
    case DType::i8: return *reinterpret_cast<const int8_t*>(p);
    default: return *reinterpret_cast<const uint8_t*>(p);
  }
}

bool is_float(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

TensorRef& tensor_at(void* args, const Field& f) { return *reinterpret_cast<TensorRef*>(static_cast<char*>(args) + f.offset); }

// Blocks of device memory that live as long as one call.
struct Uploads {
  struct One {
    const char* host;
    int64_t bytes;
    char* device;
  };
  std::vector<One> list;
  ~Uploads() {
    for (const One& o : list) backend().release(stream(), o.device, o.bytes);
  }
  Status add(const char* host, int64_t bytes, char** device) {
    for (const One& o : list)
      if (host && o.host == host) {
        *device = o.device;
        return {};
      }
    void* data;
    TERSOR_TRY(backend().allocate(stream(), bytes, &data));
    *device = static_cast<char*>(data);
    list.push_back({host, bytes, *device});
    return host ? backend().upload(stream(), data, host, bytes) : backend().fill(stream(), data, 0xCB, bytes);
  }
};

std::string signature_of(const Entry& entry, void* args) {
  std::string text;
  for (const Field* f = entry.fields; f->kind; f++) {
    if (f->kind != 'T' && f->kind != 'O' && f->kind != 'M') continue;
    const TensorRef& t = tensor_at(args, *f);
    if (!text.empty()) text += ',';
    text += t.present() ? dtype_name(t.dtype) : "-";
  }
  return text;
}

const Entry* find_entry(const char* op) {
  for (int i = 0; i < op_count(); i++)
    if (!strcmp(op_entry(i).name, op)) return &op_entry(i);
  return nullptr;
}

}  // namespace

const Backend& backend() { return *tersor_backend(); }
tersor_stream* stream() {
  static tersor_stream* s = open_stream();
  return s;
}
bool emulated() { return !strcmp(backend().build, "emulated"); }
int32_t device_sm() {
  DeviceInfo info{};
  CHECK_OK(backend().describe(0, &info));
  return info.sm;
}

TensorRef Arena::make(DType dtype, const std::vector<int64_t>& shape) {
  TensorRef t{};
  set_shape(t, dtype, shape.data(), static_cast<int>(shape.size()));
  blocks_.push_back({std::unique_ptr<char[]>(new char[static_cast<size_t>(t.bytes()) + 16]()), t.bytes()});
  t.data = blocks_.back().data.get();
  return t;
}

static void put(const TensorRef& t, int64_t i, double v) {
  char* p = t.as<char>() + i * dtype_bytes(t.dtype);
  switch (t.dtype) {
    case DType::f64: *reinterpret_cast<double*>(p) = v; return;
    case DType::f32: *reinterpret_cast<float*>(p) = static_cast<float>(v); return;
    case DType::f16: *reinterpret_cast<uint16_t*>(p) = f16_from_f32(static_cast<float>(v)); return;
    case DType::bf16: *reinterpret_cast<uint16_t*>(p) = bf16_from_f32(static_cast<float>(v)); return;
    case DType::i64: *reinterpret_cast<int64_t*>(p) = static_cast<int64_t>(v); return;
    case DType::i32: *reinterpret_cast<int32_t*>(p) = static_cast<int32_t>(v); return;
    case DType::i16: *reinterpret_cast<int16_t*>(p) = static_cast<int16_t>(v); return;
    case DType::u16: *reinterpret_cast<uint16_t*>(p) = static_cast<uint16_t>(v); return;
    case DType::i8: *reinterpret_cast<int8_t*>(p) = static_cast<int8_t>(v); return;
    default: *reinterpret_cast<uint8_t*>(p) = static_cast<uint8_t>(v); return;
  }
}

TensorRef Arena::uniform(DType dtype, const std::vector<int64_t>& shape, double lo, double hi) {
  const TensorRef t = make(dtype, shape);
  std::uniform_real_distribution<double> real(lo, hi);
  std::uniform_int_distribution<int64_t> whole(static_cast<int64_t>(lo), static_cast<int64_t>(hi));
  for (int64_t i = 0; i < t.size(); i++) put(t, i, is_float(dtype) ? real(rng()) : static_cast<double>(whole(rng())));
  return t;
}
TensorRef Arena::normal(const std::vector<int64_t>& shape, double deviation) {
  const TensorRef t = make(DType::f32, shape);
  std::normal_distribution<double> d(0, deviation);
  for (int64_t i = 0; i < t.size(); i++) put(t, i, d(rng()));
  return t;
}
TensorRef Arena::values(const std::vector<float>& v, const std::vector<int64_t>& shape) {
  const TensorRef t = make(DType::f32, shape);
  for (int64_t i = 0; i < t.size(); i++) put(t, i, static_cast<double>(v[static_cast<size_t>(i)]));
  return t;
}
TensorRef Arena::integers(DType dtype, const std::vector<int64_t>& v, const std::vector<int64_t>& shape) {
  const TensorRef t = make(dtype, shape);
  for (int64_t i = 0; i < t.size(); i++) put(t, i, static_cast<double>(v[static_cast<size_t>(i)]));
  return t;
}
TensorRef Arena::bits(DType dtype, const std::vector<int64_t>& shape) {
  const TensorRef t = make(dtype, shape);
  for (int64_t i = 0; i < t.bytes(); i++) t.as<unsigned char>()[i] = static_cast<unsigned char>(rng()());
  return t;
}

TensorRef Arena::permuted(const TensorRef& t, const std::vector<int>& order) {
  TensorRef y = t;
  for (size_t i = 0; i < order.size(); i++) {
    y.shape[i] = t.shape[order[i]];
    y.stride[i] = t.stride[order[i]];
  }
  return y;
}
TensorRef Arena::transposed(const TensorRef& t) {
  std::vector<int> order;
  for (int i = 0; i < t.rank; i++) order.push_back(i);
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  return permuted(t, order);
}
TensorRef Arena::sliced(const TensorRef& t, int axis, int64_t start, int64_t size, int64_t step) {
  TensorRef y = t;
  y.data = t.as<char>() + start * t.stride[axis] * dtype_bytes(t.dtype);
  y.shape[axis] = size;
  y.stride[axis] *= step;
  return y;
}
TensorRef Arena::broadcast(const TensorRef& t, const std::vector<int64_t>& shape) {
  TensorRef y = t;
  y.rank = static_cast<int32_t>(shape.size());
  for (int i = 0; i < y.rank; i++) {
    const int from = t.rank - y.rank + i;
    y.shape[i] = shape[static_cast<size_t>(i)];
    y.stride[i] = from < 0 || t.shape[from] == 1 ? 0 : t.stride[from];
  }
  return y;
}
double Arena::get(const TensorRef& t, int64_t index) const {
  int64_t at = 0;
  for (int i = t.rank - 1; i >= 0; i--) {
    at += index % t.shape[i] * t.stride[i];
    index /= t.shape[i];
  }
  return element(t.dtype, t.as<char>() + at * dtype_bytes(t.dtype));
}
const Arena::Block& Arena::block_of(const TensorRef& t) const {
  for (const Block& b : blocks_)
    if (t.as<char>() >= b.data.get() && t.as<char>() <= b.data.get() + b.bytes + 15) return b;
  fprintf(stderr, "a tensor that is not of the arena\n");
  abort();
}

// Every second call's results begin one element behind a multiple of 256 bytes, as views that are given as results may. Packed weights must not.
static int64_t offset_of_results(const char* op, DType dtype) {
  static int calls = 0;
  return calls++ % 2 == 1 && !strstr(op, "_pack") ? dtype_bytes(dtype) : 0;
}

static Status run_op(const Arena& arena, const char* op, const void* given, Results* results, bool cpu) {
  const Entry* entry = find_entry(op);
  if (!entry) return fail(Code::internal, "no such op");
  std::vector<char> on_cpu(entry->bytes), on_device(entry->bytes);
  memcpy(on_cpu.data(), given, entry->bytes);
  TERSOR_TRY(entry->infer(on_cpu.data()));
  memcpy(on_device.data(), on_cpu.data(), entry->bytes);
  const KernelFn kernel = backend().kernel(op, signature_of(*entry, on_cpu.data()).c_str());
  if (!kernel) return fail(Code::unsupported, "no row of kernels.inc takes %s", signature_of(*entry, on_cpu.data()).c_str());
  Uploads uploads;
  results->list.clear();
  for (const Field* f = entry->fields; f->kind; f++) {
    if (f->kind != 'T' && f->kind != 'O' && f->kind != 'M' && f->kind != 'R') continue;
    TensorRef& host = tensor_at(on_cpu.data(), *f);
    TensorRef& device = tensor_at(on_device.data(), *f);
    if (f->kind == 'R' || f->kind == 'M') {
      Results::One one{FieldName(*entry, static_cast<int>(f - entry->fields)).text, host, {}, {}};
      one.cpu.assign(static_cast<size_t>(host.bytes()), static_cast<char>(0xCB));
      one.device.resize(one.cpu.size());
      if (f->kind == 'M') memcpy(one.cpu.data(), host.data, one.cpu.size());  // row-major by contract
      results->list.push_back(std::move(one));
    }
    if (f->kind == 'R') {
      char* data;
      const int64_t offset = offset_of_results(op, host.dtype);
      TERSOR_TRY(uploads.add(nullptr, host.bytes() + offset, &data));
      device.data = data + offset;
    } else if (host.present()) {
      const Arena::Block& block = arena.block_of(host);
      char* data;
      TERSOR_TRY(uploads.add(block.data.get(), block.bytes, &data));
      device.data = data + (host.as<char>() - block.data.get());
    }
  }
  TERSOR_TRY(kernel(stream(), on_device.data()));
  TERSOR_TRY(backend().synchronize(stream()));
  size_t at = 0;
  for (const Field* f = entry->fields; f->kind; f++) {
    if (f->kind != 'M' && f->kind != 'R') continue;
    Results::One& one = results->list[at++];
    const TensorRef& device = tensor_at(on_device.data(), *f);
    one.device.resize(static_cast<size_t>(device.bytes()));
    TERSOR_TRY(backend().download(stream(), one.device.data(), device.data, device.bytes()));
    TensorRef& host = tensor_at(on_cpu.data(), *f);
    host.data = one.cpu.data();
  }
  if (!cpu) return {};
  Context context;
  TERSOR_TRY(entry->cpu(on_cpu.data(), context));
  at = 0;
  for (const Field* f = entry->fields; f->kind; f++) {
    if (f->kind != 'M' && f->kind != 'R') continue;
    Results::One& one = results->list[at++];
    one.shape = tensor_at(on_cpu.data(), *f);
    one.cpu.resize(static_cast<size_t>(one.shape.bytes()));
  }
  return {};
}

Status run_both(const Arena& arena, const char* op, const void* args, Results* results) { return run_op(arena, op, args, results, true); }
Status run_device(const Arena& arena, const char* op, const void* args, Results* results) { return run_op(arena, op, args, results, false); }

void compare(const char* op, const Results& results, Tolerance tolerance, const char* file, int line) {
  for (const Results::One& r : results.list) {
    checks++;
    if (r.cpu.size() != r.device.size()) {
      report_failure(file, line, "%s: %s has %zu bytes on the device, %zu on the CPU", op, r.name.c_str(), r.device.size(), r.cpu.size());
      continue;
    }
    const int64_t width = dtype_bytes(r.shape.dtype);
    int64_t wrong = 0, first = -1;
    for (int64_t i = 0; i * width < static_cast<int64_t>(r.cpu.size()); i++) {
      const char *pc = r.cpu.data() + i * width, *pd = r.device.data() + i * width;
      checks++;
      if (!memcmp(pc, pd, static_cast<size_t>(width))) continue;
      const double c = element(r.shape.dtype, pc), d = element(r.shape.dtype, pd);
      if (is_float(r.shape.dtype) && ((c != c && d != d) || c == d || std::fabs(d - c) <= tolerance.absolute + tolerance.relative * std::fabs(c))) continue;
      wrong++;
      if (first < 0) first = i;
    }
    if (wrong == 0) continue;
    const double c = element(r.shape.dtype, r.cpu.data() + first * width), d = element(r.shape.dtype, r.device.data() + first * width);
    report_failure(file, line, "%s: %s %s: %lld elements differ, first at %lld: device %.9g, CPU %.9g", op, r.name.c_str(), TERSOR_TEXT(r.shape),
                   static_cast<long long>(wrong), static_cast<long long>(first), d, c);
  }
}

}  // namespace test
}  // namespace tersor
