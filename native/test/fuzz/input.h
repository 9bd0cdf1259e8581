// Fuzz targets of libFuzzer: an op is called with tensors cut out of the input as its binding calls it. It succeeds or gives a typed error; memory is
// exactly as large as the shapes say, so that AddressSanitizer sees every step outside.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "ops/args.h"
#include "ops/util.h"

// With -DTERSOR_FUZZING (CMake's TERSOR_FUZZ) libFuzzer calls the target, else a test of the native runner does (fuzz_test.cc).
#ifdef TERSOR_FUZZING
#define TERSOR_FUZZ_TARGET(name) extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
#else
#define TERSOR_FUZZ_TARGET(name) int tersor::fuzz::name(const uint8_t* data, size_t size)
#endif

namespace tersor {
namespace fuzz {

int sparse_code(const uint8_t* data, size_t size);
int sparse_rows(const uint8_t* data, size_t size);

// Reads values off the input; zeros behind its end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  size_t left() const { return size_; }
  template <class T> T take() {
    T value{};
    const size_t n = size_ < sizeof(T) ? size_ : sizeof(T);
    if (n > 0) memcpy(&value, data_, n);
    data_ += n;
    size_ -= n;
    return value;
  }
  int64_t below(int64_t n) { return take<uint16_t>() % n; }
  // Mostly small, now and then any number at all: a dimension that a file claims.
  int64_t dimension() {
    const uint8_t kind = take<uint8_t>();
    return kind < 240 ? kind % 24 : kind < 248 ? take<uint16_t>() : take<int64_t>();
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

// Tensors in memory of their own.
class Tensors {
 public:
  TensorRef take(Input& in, DType dtype, std::initializer_list<int64_t> shape) {
    TensorRef t{};
    set_shape(t, dtype, shape.begin(), static_cast<int>(shape.size()));
    unsigned char* bytes = allocate(t);
    for (int64_t i = 0; i < t.bytes(); i++) bytes[i] = in.take<uint8_t>();
    return t;
  }
  unsigned char* allocate(TensorRef& t) {
    owned_.emplace_back(new unsigned char[static_cast<size_t>(t.bytes())]);
    t.data = owned_.back().get();
    return owned_.back().get();
  }

 private:
  std::vector<std::unique_ptr<unsigned char[]>> owned_;
};

// What a result may take here: a file that claims more is refused by the budget of the runtime, which there is none of.
constexpr int64_t kMostBytes = int64_t(1) << 20;

// False where the op was refused, or its result left out for its size.
template <class Args> bool run(Tensors& tensors, Args& args, TensorRef& result, Status (*infer)(Args&), Status (*cpu)(Args&, Context&)) {
  if (infer(args).code != Code::ok) return false;
  if (result.bytes() > kMostBytes) return false;
  tensors.allocate(result);
  Context context;
  const Status status = cpu(args, context);
  if (status.code == Code::internal) abort();
  return status.code == Code::ok;
}

}  // namespace fuzz
}  // namespace tersor
