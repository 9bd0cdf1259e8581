#include "cuda/allocator.h"

#include <cstdlib>

namespace tersor {
namespace cuda {

Account& account(int32_t device) {
  static Account* accounts = new Account[64];
  return accounts[device];
}

Status Account::reserve(int32_t device, int64_t size) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (budget == 0) {
    const char* text = getenv("TERSOR_CUDA_MAX_BYTES");
    budget = text ? strtoll(text, nullptr, 10) : 0;
    int64_t free = 0, total = 0;
    if (budget <= 0) {
      TERSOR_TRY(runtime::free_memory(device, &free, &total));
      budget = total / 10 * 9;
    }
  }
  if (size > 0 && size > budget - bytes)  // nothing more is fine where the budget was set below what is in use
    return fail(Code::memory_budget, "cuda:%d: %lld bytes more would be beyond the budget of %lld (%lld in use)", device, static_cast<long long>(size),
                static_cast<long long>(budget), static_cast<long long>(bytes));
  bytes += size;
  blocks++;
  if (bytes > peak) peak = bytes;
  return {};
}
void Account::give_back(int64_t size) {
  const std::lock_guard<std::mutex> lock(mutex);
  bytes -= size;
  blocks--;
}
void Account::add_cached(int64_t size) {
  const std::lock_guard<std::mutex> lock(mutex);
  cached += size;
}

int64_t size_class(int64_t bytes) {
#if defined(TERSOR_CUDA_EMULATE)
  return bytes;  // blocks end where tensors end: the guard page stands right behind them
#else
  int64_t step = 512;
  while (bytes > 16 * step) step *= 2;
  return bytes <= 512 ? 512 : (bytes + step - 1) / step * step;
#endif
}

Status Allocator::allocate(int64_t bytes, void** data) {
  const int64_t size = size_class(bytes);
  TERSOR_TRY(runtime::before_allocate(queue_, bytes));
  TERSOR_TRY(account(device_).reserve(device_, size));
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto at = kept_.find(size);
    if (at != kept_.end() && !at->second.empty()) {
      *data = at->second.back();
      at->second.pop_back();
      account(device_).add_cached(-size);
      runtime::poison(queue_, *data, size);
      return {};
    }
  }
  const Status status = from_driver(size, data);
  if (!status.ok()) account(device_).give_back(size);
  return status;
}

Status Allocator::from_driver(int64_t size, void** data) {
  Status status = runtime::allocate(queue_, size, data);
  if (status.code != Code::memory_budget) return status;
  trim();  // perhaps what is kept makes room
  const Status waited = runtime::synchronize(queue_);
  if (!waited.ok()) return waited;
  const Status again = runtime::allocate(queue_, size, data);
  return again;
}

void Allocator::release(void* data, int64_t bytes) {
  const int64_t size = size_class(bytes);
  account(device_).give_back(size);
  account(device_).add_cached(size);
  const std::lock_guard<std::mutex> lock(mutex_);
  kept_[size].push_back(data);
}

void Allocator::trim() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& entry : kept_)
    for (void* data : entry.second) {
      runtime::release(queue_, data, entry.first);
      account(device_).add_cached(-entry.first);
    }
  kept_.clear();
}

}  // namespace cuda
}  // namespace tersor
