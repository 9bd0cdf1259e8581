// A program made ready to run: places for all temporaries in one block, argument structs with their addresses filled in. A plan never changes; each
// run takes a frame (a block and its argument structs) of its own, so runs may overlap in time. Nothing is allocated between two steps but
// what ops ask for themselves.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>

#include "plan/program.h"

namespace tersor {

struct PlanStats {
  int64_t arena_bytes;      // of a run in progress
  int64_t separate_bytes;   // what the temporaries would take side by side
  int64_t constant_bytes;   // held by the plan, most of them shared with the model
  int64_t steps, in_place;
  int64_t frames;           // kept now, in use or not
};

// When a step began and ended, nanoseconds on the steady clock.
struct StepTime {
  int64_t begin, end;
};

class Plan {
 public:
  explicit Plan(Program&& program);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const std::vector<TensorRef>& inputs() const { return program_.inputs; }
  const std::vector<TensorRef>& outputs() const { return program_.outputs; }
  const Program& program() const { return program_; }
  Place* place() const { return program_.place.get(); }
  PlanStats stats() const;

  // inputs: row-major values, readable 64 bytes beyond their end. outputs: row-major memory of the outputs' shapes; both on the plan's place, where the run is
  // queued when this returns. times: one per step, or null; on a place each step is waited for then.
  // Cancelled: ERR_ABORTED at the next step or inside a long one; the outputs are undefined then. Any number of threads at a time.
  Status run(const void* const* inputs, void* const* outputs, const std::atomic<bool>* cancel, StepTime* times) const;
  // What a run took lately, nanoseconds: a mean that forgets; 0 before the first. On a place: until the work is queued.
  int64_t usual_time() const { return usual_time_.load(std::memory_order_relaxed); }

 private:
  struct Frame;
  // A pointer in the argument structs that is filled in: where it stands, what is added to the base.
  struct Patch {
    size_t at;
    int64_t offset;
  };
  struct Outside {
    Patch patch;
    int number;  // input, or count of inputs + output
  };
  // A result of rank 1, which the op's body may make smaller: the steps after it were planned for the size that it had.
  struct Sized {
    size_t step, at;
    int64_t size;
  };
  static constexpr size_t kKeptFrames = 4;

  void merge_in_place(std::vector<int>& root);
  void place_temporaries();
  void make_template();
  Status take(Frame** frame) const;
  void give(Frame* frame) const;
  void free_frame(Frame* frame) const;
  Status run_steps(Frame& frame, const void* const* inputs, void* const* outputs, const std::atomic<bool>* cancel, StepTime* times) const;
  Status copy_outputs(Frame& frame, const void* const* inputs, void* const* outputs, const std::atomic<bool>* cancel) const;

  Program program_;
  std::vector<int64_t> place_;      // of each temporary in the block
  std::vector<int> direct_;         // by slot: the output that it is, or -1
  std::vector<bool> copied_;        // by output: copied at the end
  int64_t arena_bytes_ = 0, separate_bytes_ = 0, in_place_ = 0;
  std::vector<std::max_align_t> template_;  // all argument structs, constants filled in
  std::vector<size_t> step_at_;             // bytes
  std::vector<Patch> inside_;
  std::vector<Outside> outside_;
  std::vector<Sized> sizes_;  // of the results of rank 1, in the order of the steps
  mutable std::atomic<int64_t> usual_time_{0};
  mutable std::mutex mutex_;
  mutable std::vector<Frame*> free_;
  mutable int64_t frames_ = 0;
};

}  // namespace tersor
