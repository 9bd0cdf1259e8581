// A queue of work on a device, as one JavaScript environment has it: the library's functions behind a lock, kernels looked up once for each op and
// signature, the processor in their place where there is none and the user chose so.
#pragma once
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/plugins.h"
#include "ops/op_table.h"
#include "tensor/place.h"

namespace tersor {

class Stream final : public Place {
 public:
  static Status open(const Library& library, int device, Stream** out);

  const char* name() const override { return name_; }
  bool same_device(const Place& other) const override;
  Status allocate(const char* where, int64_t bytes, void** data) override;
  void release(void* data, int64_t bytes) override;
  Status upload(void* to, const void* from, int64_t bytes) override;
  Status download(void* to, const void* from, int64_t bytes) override;
  Status copy(void* to, const void* from, int64_t bytes) override;
  Status fill(void* to, int byte, int64_t bytes) override;
  Status synchronize() override;
  void settle() override;
  Status call(int op, void* args, Context& context) override;

  const Backend& backend() const { return *library_.backend; }
  const Library& library() const { return library_; }
  int device() const { return device_; }

  // Whether an op without a kernel runs on the processor, on copies; how often each did (index of the op, times).
  void set_fallback(bool on) { fallback_ = on; }
  bool fallback() const { return fallback_; }
  std::vector<std::pair<int, int64_t>> fallbacks();

 private:
  Stream(const Library& library, int device, tersor_stream* stream);
  ~Stream() override;
  // The dtypes of the tensors that a call has, 4 bits each, in row order.
  struct Signature {
    uint64_t low = 0, high = 0;
    bool operator==(const Signature& other) const { return low == other.low && high == other.high; }
  };
  struct Found {
    Signature signature;
    KernelFn kernel;
  };
  static Signature signature_of(const Entry& entry, const void* args);
  Status on_processor(int op, const Entry& entry, void* args, Context& context);
  template <class F> Status locked(F&& f);

  const Library& library_;
  const int device_;
  tersor_stream* const stream_;
  char name_[32];
  std::mutex mutex_;
  std::atomic<bool> fallback_{false};
  Status late_;  // what settle found: the next call's
  std::vector<std::vector<Found>> kernels_;  // by op
  std::vector<int64_t> fallbacks_;           // by op
};

}  // namespace tersor
