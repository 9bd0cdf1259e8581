// Work of one JavaScript environment that runs in another (node:worker_threads). A job is a number that both sides know: it carries a flag that
// cancels native calls of the worker, and tensors on their way from one side to the other without a copy.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "base/tensor_ref.h"

namespace tersor {
namespace bindings {

class Env;

class WorkerJob {
 public:
  ~WorkerJob();
  // Adds a reference; while it lies here the storage counts as being read, so in-place ops on either side answer ERR_BUSY. Gives its number.
  uint32_t lend(const TensorRef& t);
  // The tensor with that number, with a storage record of the caller's own and, on a device, its own queue there. False: there is none, or why.
  bool take(uint32_t index, Env* env, TensorRef* out, Status* why);

  std::atomic<bool> cancelled{false};

  static uint32_t open();
  // null: there is no such job (any more).
  static std::shared_ptr<WorkerJob> find(uint32_t id);
  static void close(uint32_t id);

 private:
  std::mutex mutex_;
  std::vector<TensorRef> lent_;
};

}  // namespace bindings
}  // namespace tersor
