// What every C++ contender of the bench shares: the line protocol of bench/lib/protocol.ts (one JSON object per line on stdin and stdout), the
// deterministic data, and the timing loop. A contender is one executable: it defines `prepare` for the kernels it knows and calls run_contender.
//   ./onednn                                         speaks the protocol
//   ./onednn gemm.f32 m=128 k=768 n=768 threads=1    times one case and prints it (for use by hand)
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

struct Case {
  std::string kernel;
  std::map<std::string, double> numbers;
  std::string isa;  // the cap of this run, "" = none
  int threads = 1;

  double number(const char* name, double otherwise) const {
    const auto it = numbers.find(name);
    return it == numbers.end() ? otherwise : it->second;
  }
  int size(const char* name) const {
    const auto it = numbers.find(name);
    if (it == numbers.end()) throw std::runtime_error(std::string("the case lacks ") + name);
    return static_cast<int>(it->second);
  }
  // How many copies of the weights are visited in turn, so that they come from memory and not from a cache; 1 = warm.
  int copies() const { return static_cast<int>(number("copies", 1)); }
};

struct Prepared {
  std::vector<std::function<void()>> calls;  // visited in turn; more than one only for cold weights
  double check = NAN;                        // sum of |result|, to compare contenders; NaN: none
  std::function<void()> rest;                // sends the library's threads to sleep after a sample, where they would spin on
  double work = NAN;                         // operations or bytes of one call; only micro-benchmarks of limits say it
};

struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Identity {
  std::string name, version, isa;
};

// ---- data: the same numbers in every contender (bench/lib/data.ts, python/contender.py)

inline uint32_t hash32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  return x ^ (x >> 16);
}
inline float unit(uint32_t i, uint32_t seed) { return static_cast<float>(hash32(i * 4 + seed) >> 8) * (1.0f / 16777216.0f); }  // [0, 1)

template <class T> T* aligned(size_t n) {
  void* p = nullptr;
  if (posix_memalign(&p, 64, (n * sizeof(T) + 127) / 64 * 64)) throw std::bad_alloc();
  memset(p, 0, n * sizeof(T));
  return static_cast<T*>(p);
}
template <class T> struct Buffer {
  T* data;
  size_t size;
  explicit Buffer(size_t n) : data(aligned<T>(n)), size(n) {}
  Buffer(const Buffer&) = delete;
  ~Buffer() { free(data); }
};
template <class T> using Shared = std::shared_ptr<Buffer<T>>;
template <class T> Shared<T> buffer(size_t n) { return std::make_shared<Buffer<T>>(n); }

inline Shared<float> floats(size_t n, uint32_t seed) {  // uniform in [-1, 1)
  auto b = buffer<float>(n);
  for (size_t i = 0; i < n; i++) b->data[i] = unit(static_cast<uint32_t>(i), seed) * 2 - 1;
  return b;
}
inline Shared<int8_t> signed_bytes(size_t n, uint32_t seed) {  // [-127, 127]
  auto b = buffer<int8_t>(n);
  for (size_t i = 0; i < n; i++) b->data[i] = static_cast<int8_t>(static_cast<int>(unit(static_cast<uint32_t>(i), seed) * 255) - 127);
  return b;
}
inline Shared<uint8_t> bytes(size_t n, uint32_t seed) {
  auto b = buffer<uint8_t>(n);
  for (size_t i = 0; i < n; i++) b->data[i] = static_cast<uint8_t>(unit(static_cast<uint32_t>(i), seed) * 256);
  return b;
}
inline Shared<float> sparse_floats(size_t n, uint32_t seed, double sparsity) {  // value 0 with probability `sparsity`
  auto b = floats(n, seed);
  for (size_t i = 0; i < n; i++)
    if (unit(static_cast<uint32_t>(i), seed + 1) < static_cast<float>(sparsity)) b->data[i] = 0;
  return b;
}
inline Shared<float> bell_floats(size_t n, uint32_t seed) {  // sum of three uniforms: few ties, a bell like that of weights
  auto b = buffer<float>(n);
  for (size_t i = 0; i < n; i++) {
    const uint32_t j = static_cast<uint32_t>(i);
    b->data[i] = unit(j, seed) + unit(j, seed + 1) + unit(j, seed + 2) - 1.5f;
  }
  return b;
}
template <class T> double sum_abs(const T* p, size_t n) {
  double s = 0;
  for (size_t i = 0; i < n; i++) s += std::fabs(static_cast<double>(p[i]));
  return s;
}

// ---- protocol

inline double now_ns() { return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count()); }

// One sample: calls that warm up for half its time (what ran in between has taken the caches, and pools of threads have to wake), then calls for
// about `ms`; ns per call. A call of 20 ms warms up within itself and is its own sample. The same rules: ts/bench/sampler.ts, ../python/contender.py.
inline double sample_calls(const Prepared& p, double ms, long& calls) {
  static size_t next = 0;
  const auto step = [&] { p.calls[next++ % p.calls.size()](); };
  const double start = now_ns();
  double begin = start, once = 1;
  for (bool is_warm = false; !is_warm;) {
    step();
    const double end = now_ns();
    once = std::max(1.0, end - begin);
    if (once > 20e6) {
      calls = 1;
      return once;
    }
    is_warm = end - start > 0.5e6 * ms;
    begin = end;
  }
  long n = std::max(1L, static_cast<long>(ms * 1e6 / once));
  for (int tries = 0;; tries++) {  // the first call may have been slow: grow until the time is filled
    begin = now_ns();
    for (long i = 0; i < n; i++) step();
    const double spent = now_ns() - begin;
    if (spent > ms * 0.5e6 || tries == 4) {
      calls = n;
      return spent / static_cast<double>(n);
    }
    n = static_cast<long>(static_cast<double>(n) * std::min(16.0, ms * 1e6 / std::max(1.0, spent))) + 1;
  }
}

inline double sample(const Prepared& p, double ms, long& calls) {
  const double ns = sample_calls(p, ms, calls);
  if (p.rest) p.rest();
  return ns;
}

inline std::string quote(const std::string& s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return out + "\"";
}
inline std::string json_number(double x) {
  char text[40];
  snprintf(text, sizeof text, "%.12g", x);
  return text;
}

// Reads the flat objects of the protocol: "name": "text" and "name": number at any depth become one list.
inline std::map<std::string, std::string> read_fields(const std::string& line) {
  std::map<std::string, std::string> out;
  std::string key;
  for (size_t i = 0; i < line.size();) {
    if (line[i] == '"') {
      const size_t end = line.find('"', i + 1);
      const std::string text = line.substr(i + 1, end - i - 1);
      i = end + 1;
      if (key.empty() && i < line.size() && line[i] == ':') {
        key = text;
        i++;
      } else {
        out[key] = text;
        key.clear();
      }
    } else if (!key.empty() && (isdigit(static_cast<unsigned char>(line[i])) || line[i] == '-')) {
      const size_t end = line.find_first_of(",}]", i);
      out[key] = line.substr(i, end - i);
      key.clear();
      i = end;
    } else {
      if (line[i] == '{') key.clear();
      i++;
    }
  }
  return out;
}

using PrepareFunction = std::function<Prepared(const Case&)>;

inline int run_by_hand(int argc, char** argv, const Identity& me, const PrepareFunction& prepare) {
  Case c;
  c.kernel = argv[1];
  for (int i = 2; i < argc; i++) {
    const char* eq = strchr(argv[i], '=');
    if (!eq) throw std::runtime_error(std::string("expected name=number, got ") + argv[i]);
    c.numbers[std::string(argv[i], static_cast<size_t>(eq - argv[i]))] = atof(eq + 1);
  }
  c.threads = static_cast<int>(c.number("threads", 1));
  if (const char* isa = getenv("TERSOR_ISA")) c.isa = isa;
  const Prepared p = prepare(c);
  std::vector<double> v;
  long calls = 0;
  for (int r = 0; r < 15; r++) v.push_back(sample(p, c.number("ms", 10), calls));
  std::sort(v.begin(), v.end());
  printf("%s %s (%s) %s: median %.4g us, best %.4g us", me.name.c_str(), me.version.c_str(), me.isa.c_str(), argv[1], v[7] / 1e3, v[0] / 1e3);
  const double ops = p.work == p.work ? p.work : 2.0 * c.number("m", 0) * c.number("k", 0) * c.number("n", 0) * (1 - c.number("sparsity", 0));
  if (ops > 0) printf(", %.4g G/s", ops / v[7]);
  if (p.check == p.check) printf(", check %.6g", p.check);
  printf("\n");
  return 0;
}

inline int run_contender(int argc, char** argv, const Identity& me, const PrepareFunction& prepare) try {
  if (argc > 1) return run_by_hand(argc, argv, me, prepare);
  std::map<int, Prepared> slots;
  for (std::string line; std::getline(std::cin, line);) {
    auto f = read_fields(line);
    std::string reply;
    try {
      const std::string op = f["op"];
      const int slot = atoi(f["slot"].c_str());
      if (op == "hello") {
        reply = "\"name\":" + quote(me.name) + ",\"version\":" + quote(me.version) + ",\"isa\":" + quote(me.isa);
      } else if (op == "prepare") {
        slots.erase(slot);
        Case c;
        c.kernel = f["kernel"];
        c.isa = f["isa"];
        c.threads = atoi(f["threads"].c_str());
        for (const auto& [name, value] : f) c.numbers[name] = atof(value.c_str());
        const Prepared& current = slots[slot] = prepare(c);
        reply = "\"ok\":true";
        if (current.check == current.check) reply += ",\"check\":" + json_number(current.check);
        if (current.work == current.work) reply += ",\"work\":" + json_number(current.work);
      } else if (op == "sample") {
        const auto it = slots.find(slot);
        if (it == slots.end()) throw std::runtime_error("sample before prepare");
        long calls = 0;
        reply = "\"ns\":" + json_number(sample(it->second, atof(f["ms"].c_str()), calls)) + ",\"calls\":" + std::to_string(calls);
      } else if (op == "release") {
        slots.clear();
        reply = "\"ok\":true";
      } else {
        throw std::runtime_error("unknown op " + op);
      }
    } catch (const Unsupported& e) {
      reply = "\"unsupported\":" + quote(e.what());
    } catch (const std::exception& e) {
      reply = "\"error\":" + quote(e.what());
    }
    std::cout << "{\"id\":" << atoi(f["id"].c_str()) << "," << reply << "}" << std::endl;
  }
  return 0;
} catch (const std::exception& e) {
  fprintf(stderr, "%s: %s\n", me.name.c_str(), e.what());
  return 1;
}

// Adds one call per copy of the weights: `make(i)` prepares the call over copy i.
inline void add_copies(Prepared& p, int copies, const std::function<std::function<void()>(int)>& make) {
  for (int i = 0; i < std::max(1, copies); i++) p.calls.push_back(make(i));
}

}  // namespace bench
