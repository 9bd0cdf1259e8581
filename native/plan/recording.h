// Watches the calls of one eager run and makes a Program of them. Tensors are known by their storage: inputs, results of calls that depend on inputs
// (temporaries), and everything else (constants: weights, tables made on the host, results of calls on constants only, which are
// not repeated). Every storage that was seen is held until the recording ends or is refused, so an address means one storage. Tensors from before the run
// that were read on the way to a constant, by calls or by the host, are sources of the program: they must keep their values as long as the constants do.
//
// A run is not recordable, and finish() says why, where its list of calls may depend on values: something reads a value that depends on an input, a
// result's size depends on such values, calls compute on two devices, the host overwrites a tensor that a call has used or that outlives the run, or a call changes one that outlives it.
// Where such values depend on small integer inputs only (a sample rate, a count), decisive() says which: recorded once more with those left out of the
// inputs, that is as constants, the run is recordable, for these values of them.
#pragma once
#include <unordered_map>
#include <unordered_set>

#include "plan/program.h"

namespace tersor {

class Recording {
 public:
  static constexpr int kSmallInputs = 52;  // of the first that many inputs, and of at most so many elements
  static constexpr int64_t kSmallElements = 16;
  Recording() = default;
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  void input(const TensorRef& t);  // row-major
  // After a call that succeeded. before: the argument struct as the op's body got it.
  void call(const Entry& entry, const void* before);
  void created(const TensorRef& t);  // by the host, in this run
  void written(const TensorRef& t);  // by the host
  void read(const TensorRef& t);     // by the host
  void mark(int label);              // of the steps since the last mark
  void refuse(const Status& why) {
    if (why_.ok()) why_ = why;
    let_go();
  }
  // Bit i: input i is small, of integers or booleans, and its values decided what was computed, and finish() has no other reason to refuse.
  uint64_t decisive() const { return decided_ ? decisive_ : 0; }
  // The list, or ERR_UNSUPPORTED with the reason. Once.
  Status finish(const TensorRef* outputs, int count, Program* program);

 private:
  static constexpr uint64_t kLarge = uint64_t(1) << 63;

  int known(const TensorRef& t) const;
  int slot_for(const TensorRef& t);  // a storage that is new is a constant
  void hold(Storage* s) {
    if (held_.insert(s).second) s->retain();
  }
  void place(TensorRef& t);
  Status check(const Step& step, bool* depends);
  Status lies_on(Place* place);  // one for the whole run
  // Whether only small inputs are behind these; they are decisive then.
  bool decided_by(uint64_t inputs);
  uint64_t behind(const Step& step) const;
  void read_before(Storage* s);  // a constant was made from it, or a decision
  void let_go();

  std::unordered_map<Storage*, int> slots_;
  std::unordered_set<Storage*> held_;
  std::unordered_set<Storage*> fresh_;  // made in this run by the host or by calls on constants
  std::unordered_set<Storage*> sources_;
  Program program_;
  std::vector<uint64_t> behind_;  // by slot: the inputs that a value depends on, large ones as kLarge
  uint64_t decisive_ = 0;
  PlaceRef place_;        // of the steps
  bool placed_ = false;   // place_ is known
  bool decided_ = false;  // finish() refused for decisive_ alone
  size_t marked_ = 0;
  Status why_;
};

}  // namespace tersor
