// For tests that bring kernels of their own (.cu files of this folder, and the emulator's tests): a stream and arrays on it.
#pragma once
#include <vector>

#include "cuda/allocator.h"
#include "cuda/launch.h"
#include "test/test.h"

namespace tersor {
namespace test {

inline cuda::Stream& test_stream() {
  static cuda::Stream* s = [] {
    cuda::Stream* made = nullptr;
    const Status status = cuda::Stream::open(0, &made);
    if (!status.ok()) {
      fprintf(stderr, "the device cannot be opened: %s\n", status.message);
      exit(3);
    }
    return made;
  }();
  return *s;
}

// Values on the device, until the end of the scope.
template <class T> class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : bytes_(static_cast<int64_t>(values.size() * sizeof(T))), count_(values.size()) {
    CHECK_OK(test_stream().begin("test"));
    void* data = nullptr;
    CHECK_OK(test_stream().allocator().allocate(bytes_, &data));
    data_ = static_cast<T*>(data);
    CHECK_OK(test_stream().upload(data_, values.data(), bytes_));
  }
  explicit OnDevice(size_t count) : OnDevice(std::vector<T>(count)) {}
  ~OnDevice() { test_stream().allocator().release(data_, bytes_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    CHECK_OK(test_stream().download(values.data(), data_, bytes_));
    return values;
  }

 private:
  T* data_ = nullptr;
  int64_t bytes_;
  size_t count_;
};

}  // namespace test
}  // namespace tersor
