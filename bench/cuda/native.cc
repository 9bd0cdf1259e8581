// Kernels of the CUDA library beside cuBLASLt and cuSPARSE, without Python or Node. Both sides work on the same device memory and are compared before they are timed.
//
//   tersor_cuda_bench --library build-gpu/Release/tersor_cuda.so [--json FILE] [--filter TEXT] [--seconds N] [--quick]
//
// Time: best and median of 7 rounds of enough calls (30 ms), ours and the rival in turns. share: of the time that the bytes would take at the copy bandwidth measured in
// the same run. The JSON is written again after every case. Cases that did not fit into --seconds (240) are named in `left_out`. --quick: sizes at which times mean
// nothing, which the emulated library (tersor_cuda_emulated.so) takes too.
// Ends with 0; 1: a case failed or gave other numbers than the rival; 2: no device or no library.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "rivals.h"

using namespace tersor;

namespace {

const Backend* table;
tersor_stream* stream;

[[noreturn]] void stop(const std::string& why) {
  fprintf(stderr, "tersor_cuda_bench: %s\n", why.c_str());
  exit(2);
}
void must(const Status& s) {
  if (!s.ok()) throw std::string(s.message);
}
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Tensors of one case; all go back at its end, to the device too: the next one has other sizes.
class Memory {
 public:
  ~Memory() {
    for (const TensorRef& t : all_) table->release(stream, t.data, t.bytes());
    table->trim(0);
  }
  TensorRef make(DType dtype, std::vector<int64_t> shape) {
    TensorRef t{};
    set_shape(t, dtype, shape.data(), static_cast<int>(shape.size()));
    must(table->allocate(stream, t.bytes(), &t.data));
    t.owner = t.data, all_.push_back(t);
    return t;
  }
  TensorRef from(DType dtype, std::vector<int64_t> shape, const void* values) {
    const TensorRef t = make(dtype, std::move(shape));
    must(table->upload(stream, t.data, values, t.bytes()));
    return t;
  }

 private:
  std::vector<TensorRef> all_;
};

template <class Args> std::function<void()> call(const char* op, const char* signature, const Args& args) {
  const KernelFn kernel = table->kernel(op, signature);
  if (!kernel) throw std::string("no kernel ") + op + " " + signature;
  return [kernel, args] {
    Args a = args;
    must(kernel(stream, &a));
  };
}

// Uniform in [-0.5, 0.5): device random numbers less a half.
TensorRef uniform(Memory& m, std::vector<int64_t> shape, DType dtype = DType::f32, int64_t seed = 1) {
  random_uniform_args r{};
  r.y = m.make(DType::f32, shape), r.seed = seed;
  r.shape.n = r.y.rank;
  for (int i = 0; i < r.y.rank; i++) r.shape.v[i] = r.y.shape[i];
  call("random_uniform", "", r)();
  const float half = 0.5f;
  sub_args s{};
  s.a = r.y, s.b = m.from(DType::f32, {}, &half), s.y = r.y;
  for (int i = 0; i < s.y.rank; i++) s.b.shape[i] = s.y.shape[i], s.b.stride[i] = 0;
  s.b.rank = s.y.rank;
  call("sub", "f32,f32", s)();
  if (dtype == DType::f32) return r.y;
  cast_args c{};
  c.x = r.y, c.dtype = dtype, c.y = m.make(dtype, std::move(shape));
  call("cast", "f32", c)();
  return c.y;
}
TensorRef codes(Memory& m, int64_t rows, int64_t cols, uint32_t seed) {
  std::vector<int8_t> v(static_cast<size_t>(rows * cols));
  for (int8_t& c : v) seed = seed * 1664525u + 1013904223u, c = static_cast<int8_t>(static_cast<int>(seed >> 24) % 255 - 127);
  return m.from(DType::i8, {rows, cols}, v.data());
}

struct Case {
  std::string name;
  double bytes = 0, flops = 0;
  std::function<void()> ours;
  rivals::Call rival;
  TensorRef result{}, rival_result{};  // compared where there is a rival
  double tolerance = 0;
};

double value(const std::vector<char>& bytes, DType dtype, size_t i) {
  if (dtype == DType::i32) return reinterpret_cast<const int32_t*>(bytes.data())[i];
  if (dtype == DType::f32) return reinterpret_cast<const float*>(bytes.data())[i];
  const uint16_t h = reinterpret_cast<const uint16_t*>(bytes.data())[i];
  if (dtype == DType::bf16) {
    const uint32_t wide = static_cast<uint32_t>(h) << 16;
    float f;
    memcpy(&f, &wide, 4);
    return f;
  }
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const double v = exponent == 0 ? std::ldexp(fraction, -24) : exponent == 31 ? (fraction ? NAN : INFINITY) : std::ldexp(1024 + fraction, exponent - 25);
  return h >> 15 ? -v : v;
}

// Norm of the difference over the norm of the rival's.
double distance(const TensorRef& ours, const TensorRef& rival) {
  std::vector<char> a(static_cast<size_t>(ours.bytes())), b(a.size());
  must(table->download(stream, a.data(), ours.data, ours.bytes()));
  must(table->download(stream, b.data(), rival.data, rival.bytes()));
  double apart = 0, whole = 0;
  for (size_t i = 0; i < static_cast<size_t>(ours.size()); i++) {
    const double want = value(b, rival.dtype, i), d = value(a, ours.dtype, i) - want;
    apart += d * d, whole += want * want;
  }
  return std::sqrt(apart / std::max(whole, 1e-300));
}

double seconds(const std::function<void()>& run, const std::function<void()>& wait, double least) {
  run(), wait();
  double begin = now();
  run(), wait();
  const int64_t calls = std::max<int64_t>(1, static_cast<int64_t>(least / std::max(now() - begin, 1e-6)));
  begin = now();
  for (int64_t i = 0; i < calls; i++) run();
  wait();
  return (now() - begin) / static_cast<double>(calls);
}

struct Options {
  std::string library, json, filter;
  double seconds = 240;
  bool quick = false;
};

using Builder = std::function<Case(Memory&)>;
struct Entry {
  std::string name;
  Builder build;
};

template <class Args> void add_memory(std::vector<Entry>& list, const char* op, int64_t rows, int64_t cols, double bytes_an_element) {
  list.push_back({op, [=](Memory& m) {
                    Args a{};
                    a.x = uniform(m, {rows, cols}), a.y = m.make(DType::f32, {rows, cols});
                    Case c;
                    c.bytes = bytes_an_element * static_cast<double>(rows * cols), c.ours = call(op, "f32", a);
                    return c;
                  }});
}

std::vector<Entry> entries(bool quick) {
  std::vector<Entry> list;
  const int64_t rows = quick ? 16 : 1 << 15, cols = quick ? 64 : 4096;
  list.push_back({"add", [=](Memory& m) {
                    add_args a{};
                    a.a = uniform(m, {rows, cols}), a.b = uniform(m, {rows, cols}, DType::f32, 2), a.y = m.make(DType::f32, {rows, cols});
                    Case c;
                    c.bytes = 12.0 * static_cast<double>(rows * cols), c.ours = call("add", "f32,f32", a);
                    return c;
                  }});
  add_memory<exp_args>(list, "exp", rows, cols, 8);
  add_memory<gelu_args>(list, "gelu", rows, cols, 8);
  add_memory<softmax_args>(list, "softmax", rows, cols, 8);
  list.push_back({"sum of rows", [=](Memory& m) {
                    sum_args a{};
                    a.x = uniform(m, {rows, cols}), a.axes.n = 1, a.axes.v[0] = 1, a.y = m.make(DType::f32, {rows});
                    Case c;
                    c.bytes = 4.0 * static_cast<double>(rows * cols), c.ours = call("sum", "f32", a);
                    return c;
                  }});
  struct Size {
    int64_t m, n, k;
  };
  const std::vector<Size> big = quick ? std::vector<Size>{{32, 40, 64}} : std::vector<Size>{{4096, 4096, 4096}, {8192, 8192, 8192}, {128, 3072, 768}};
  for (const Size& s : big) {
    const std::string size = std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
    const double flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
    const double values = static_cast<double>(s.m * s.k + s.n * s.k + s.m * s.n);
    list.push_back({"matmul f32 " + size, [=](Memory& m) {
                      matmul_args a{};
                      a.a = uniform(m, {s.m, s.k}), a.b = uniform(m, {s.n, s.k}, DType::f32, 2), a.transpose_b = true, a.y = m.make(DType::f32, {s.m, s.n});
                      Case c;
                      c.bytes = 4 * values, c.flops = flops, c.tolerance = 1e-5, c.result = a.y, c.rival_result = m.make(DType::f32, {s.m, s.n});
                      c.ours = call("matmul", "f32,f32", a), c.rival = rivals::product(rivals::Type::f32, s.m, s.n, s.k, a.a.data, a.b.data, c.rival_result.data);
                      return c;
                    }});
    for (const bool brain : {false, true})
      list.push_back({std::string("matmul ") + (brain ? "bf16 " : "f16 ") + size, [=](Memory& m) {
                        const DType t = brain ? DType::bf16 : DType::f16;
                        matmul_half_args a{};
                        a.a = uniform(m, {s.m, s.k}, t), a.b = uniform(m, {s.n, s.k}, t, 2), a.transpose_b = true, a.dtype = t, a.y = m.make(t, {s.m, s.n});
                        Case c;
                        c.bytes = 2 * values, c.flops = flops, c.tolerance = 1e-2, c.result = a.y, c.rival_result = m.make(t, {s.m, s.n});
                        c.ours = call("matmul_half", brain ? "bf16,bf16,-" : "f16,f16,-", a);
                        c.rival = rivals::product(brain ? rivals::Type::bf16 : rivals::Type::f16, s.m, s.n, s.k, a.a.data, a.b.data, c.rival_result.data);
                        return c;
                      }});
    list.push_back({"int8 " + size, [=](Memory& m) {
                      qgemm_pack_args p{};
                      p.w = codes(m, s.n, s.k, 2), p.packed = m.make(DType::u8, {64 + (4 * s.n + 63) / 64 * 64 + s.n * ((s.k + 63) / 64 * 64)});
                      call("qgemm_pack", "i8", p)();
                      qgemm_s32_args a{};
                      a.x = codes(m, s.m, s.k, 1), a.packed = p.packed, a.out = s.n, a.y = m.make(DType::i32, {s.m, s.n});
                      Case c;
                      c.bytes = static_cast<double>(s.m * s.k + s.n * s.k + 4 * s.m * s.n), c.flops = flops, c.result = a.y, c.rival_result = m.make(DType::i32, {s.m, s.n});
                      c.ours = call("qgemm_s32", "i8,u8,-,-", a), c.rival = rivals::product(rivals::Type::i8, s.m, s.n, s.k, a.x.data, p.w.data, c.rival_result.data);
                      return c;
                    }});
  }
  const int64_t side = quick ? 128 : 4096;
  for (const int zeros : {80, 90, 95})
    for (const int64_t n : {int64_t(1), int64_t(128), int64_t(quick ? 16 : 1024)})
      list.push_back({"csr " + std::to_string(zeros) + " % N " + std::to_string(n), [=](Memory& m) {
                        std::vector<float> values;
                        std::vector<int32_t> indptr = {0}, columns;
                        uint32_t seed = static_cast<uint32_t>(zeros);
                        for (int64_t r = 0; r < side; r++) {
                          for (int64_t k = 0; k < side; k++) {
                            seed = seed * 1664525u + 1013904223u;
                            if (static_cast<int>((seed >> 8) % 100) >= zeros) values.push_back(static_cast<float>(seed >> 20) / 4096 - 0.5f), columns.push_back(static_cast<int32_t>(k));
                          }
                          indptr.push_back(static_cast<int32_t>(values.size()));
                        }
                        const auto count = static_cast<int64_t>(values.size());
                        csr_multiply_args a{};
                        a.values = m.from(DType::f32, {count}, values.data()), a.indptr = m.from(DType::i32, {side + 1}, indptr.data());
                        a.columns = m.from(DType::i32, {count}, columns.data()), a.x = uniform(m, {side, n}), a.y = m.make(DType::f32, {side, n});
                        Case c;
                        c.bytes = static_cast<double>(8 * count + 8 * side * n), c.flops = 2.0 * static_cast<double>(count) * static_cast<double>(n), c.tolerance = 1e-5;
                        c.result = a.y, c.rival_result = m.make(DType::f32, {side, n}), c.ours = call("csr_multiply", "f32,i32,i32,f32,-,-,-", a);
                        c.rival = rivals::sparse(side, side, n, count, a.values.as<float>(), a.indptr.as<int32_t>(), a.columns.as<int32_t>(), a.x.as<float>(), c.rival_result.as<float>());
                        return c;
                      }});
  return list;
}

struct Row {
  std::string name, failed;
  double ms = 0, best_ms = 0, rival_ms = 0, rival_best_ms = 0, gbytes = 0, share = 0, tflops = 0, error = -1;
};

std::string plain(const std::string& text) {  // for JSON
  std::string out;
  for (const char c : text) out += c == '"' || c == '\\' || static_cast<unsigned char>(c) < 32 ? ' ' : c;
  return out;
}

void save(const Options& o, const std::string& about, const std::vector<Row>& rows, const std::vector<std::string>& left_out, bool complete) {
  if (o.json.empty()) return;
  const std::string part = o.json + ".part";
  FILE* f = fopen(part.c_str(), "w");
  if (!f) stop("cannot write " + part);
  fprintf(f, "{ %s, \"complete\": %s, \"left_out\": [", about.c_str(), complete ? "true" : "false");
  for (size_t i = 0; i < left_out.size(); i++) fprintf(f, "%s\"%s\"", i ? ", " : "", plain(left_out[i]).c_str());
  fprintf(f, "],\n  \"cases\": [");
  for (size_t i = 0; i < rows.size(); i++) {
    const Row& r = rows[i];
    fprintf(f, "%s\n    { \"name\": \"%s\"", i ? "," : "", plain(r.name).c_str());
    if (!r.failed.empty()) fprintf(f, ", \"failed\": \"%s\"", plain(r.failed).c_str());
    else fprintf(f, ", \"ms\": %.6g, \"best_ms\": %.6g, \"gbytes_per_second\": %.6g, \"share_of_copy\": %.4g, \"tflops\": %.5g", r.ms, r.best_ms, r.gbytes, r.share, r.tflops);
    if (r.rival_ms > 0) fprintf(f, ", \"rival_ms\": %.6g, \"rival_best_ms\": %.6g, \"error\": %.3g", r.rival_ms, r.rival_best_ms, r.error);
    fprintf(f, " }");
  }
  fprintf(f, "\n  ] }\n");
  if (fclose(f) != 0 || rename(part.c_str(), o.json.c_str()) != 0) stop("cannot write " + o.json);
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

void measure(const Options& o, double bandwidth, const Builder& build, Row* r) {
  Memory memory;
  const Case c = build(memory);
  const auto wait = [] { must(table->synchronize(stream)); };
  const auto rival = [&] {
    if (!c.rival()) throw std::string("the rival failed");
  };
  wait();
  c.ours(), wait();
  if (c.rival) {
    rival(), rivals::wait();
    r->error = distance(c.result, c.rival_result);
    if (!(r->error <= c.tolerance)) throw "differs from the rival by " + std::to_string(r->error);
  }
  std::vector<double> ours, theirs;
  for (int i = 0; i < (o.quick ? 1 : 7); i++) {
    ours.push_back(1e3 * seconds(c.ours, wait, o.quick ? 0.001 : 0.03));
    if (c.rival) theirs.push_back(1e3 * seconds(rival, rivals::wait, o.quick ? 0.001 : 0.03));
  }
  r->ms = median(ours), r->best_ms = *std::min_element(ours.begin(), ours.end());
  if (c.rival) r->rival_ms = median(theirs), r->rival_best_ms = *std::min_element(theirs.begin(), theirs.end());
  r->gbytes = c.bytes / r->ms / 1e6, r->share = r->gbytes * 1e9 / bandwidth, r->tflops = c.flops / r->ms / 1e9;
}

double copy_bandwidth(bool quick) {
  Memory memory;
  const int64_t bytes = quick ? 1 << 14 : int64_t(1) << 31;
  const TensorRef from = memory.make(DType::u8, {bytes}), to = memory.make(DType::u8, {bytes});
  must(table->fill(stream, from.data, 1, bytes));
  std::vector<double> t;
  for (int i = 0; i < (quick ? 1 : 7); i++)
    t.push_back(seconds([&] { must(table->copy(stream, to.data, from.data, bytes)); }, [] { must(table->synchronize(stream)); }, quick ? 0.001 : 0.03));
  return 2.0 * static_cast<double>(bytes) / median(t);
}

Options options(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i++) {
    const std::string name = argv[i];
    if (name == "--quick") {
      o.quick = true;
      continue;
    }
    if (i + 1 == argc) stop(name + " wants a value, or is none of --library --json --filter --seconds --quick");
    const char* text = argv[++i];
    if (name == "--library") o.library = text;
    else if (name == "--json") o.json = text;
    else if (name == "--filter") o.filter = text;
    else if (name == "--seconds") o.seconds = atof(text);
    else stop("no option " + name);
  }
  if (o.library.empty()) stop("--library names the CUDA library");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const double begin = now();
  const Options o = options(argc, argv);
  void* const library = dlopen(o.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) stop(dlerror());
  const auto entry = reinterpret_cast<tersor_backend_fn>(dlsym(library, TERSOR_BACKEND_SYMBOL));
  table = entry ? entry() : nullptr;
  if (!table || table->abi != kBackendAbi || table->hash != seam_hash()) stop(o.library + " is no device library of these sources");
  bool failed = false;
  try {
    DeviceInfo info;
    must(table->describe(0, &info));
    must(table->open(0, &stream));
    const double bandwidth = copy_bandwidth(o.quick);
    char about[512];
    snprintf(about, sizeof about, "\"device\": \"%s\", \"driver\": \"%s\", \"library\": \"%s\", \"rivals\": \"%s\", \"copy_gbytes_per_second\": %.5g", plain(info.name).c_str(),
             plain(info.driver).c_str(), plain(table->build).c_str(), plain(rivals::about()).c_str(), bandwidth / 1e9);
    printf("%s, %s; rivals: %s; copy %.0f GB/s\n%-28s %10s %10s %7s %8s %6s %8s\n", info.name, table->build, rivals::about().c_str(), bandwidth / 1e9, "case", "ms", "rival ms",
           "ratio", "GB/s", "share", "TFLOP/s");
    std::vector<Row> rows;
    std::vector<std::string> left_out;
    for (const Entry& e : entries(o.quick)) {
      if (e.name.find(o.filter) == std::string::npos) continue;
      if (now() - begin > o.seconds) {
        left_out.push_back(e.name);
        continue;
      }
      Row r;
      r.name = e.name;
      try {
        measure(o, bandwidth, e.build, &r);
        printf("%-28s %10.4f %10.4f %7.2f %8.0f %6.2f %8.2f\n", r.name.c_str(), r.ms, r.rival_ms, r.rival_ms > 0 ? r.rival_ms / r.ms : 0, r.gbytes, r.share, r.tflops);
      } catch (const std::string& why) {
        r.failed = why, failed = true;
        printf("%-28s FAILED: %s\n", r.name.c_str(), why.c_str());
      }
      fflush(stdout);
      rows.push_back(r);
      save(o, about, rows, left_out, false);
      if (!table->health(0).ok()) break;
    }
    save(o, about, rows, left_out, left_out.empty() && table->health(0).ok());
    table->close(stream);
  } catch (const std::string& why) {
    stop(why);
  }
  return failed ? 1 : 0;
}
