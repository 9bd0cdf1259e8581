// Calls of ops on the device beside the same call on the CPU. Test files are plain C++ and know the device only through the table of backend/backend.h, so
// the same files test the emulator and a GPU.
//
//   Arena arena;
//   DeviceOp<add_args> op("add");
//   op.args.a = arena.uniform(DType::f32, {5, 7}, -2, 2);
//   op.args.b = arena.transposed(arena.uniform(DType::f32, {7, 5}, -2, 2));
//   op.check(arena, exact());            // results of device and CPU, element by element
//   arena.as<float>(x.ref)               // inputs as the CPU sees them
#pragma once
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "ops/op_table.h"
#include "test/test.h"

namespace tersor {
namespace test {

// How far a float of the device may be from the CPU's: |d - c| <= absolute + relative |c|. Integers are always exact.
struct Tolerance {
  double relative = 0, absolute = 0;
};
inline Tolerance exact() { return {}; }
inline Tolerance within(double relative, double absolute = 0) { return {relative, absolute}; }

const Backend& backend();
tersor_stream* stream();       // of the device under test, opened once
bool emulated();
int32_t device_sm();

// Memory of tensors, on the CPU; views of it go to the device with the strides that they have.
class Arena {
 public:
  TensorRef make(DType dtype, const std::vector<int64_t>& shape);  // zeros
  TensorRef uniform(DType dtype, const std::vector<int64_t>& shape, double lo, double hi);   // integers: in [lo, hi]
  TensorRef normal(const std::vector<int64_t>& shape, double deviation = 1);                  // f32
  TensorRef values(const std::vector<float>& v, const std::vector<int64_t>& shape);           // f32
  TensorRef integers(DType dtype, const std::vector<int64_t>& v, const std::vector<int64_t>& shape);
  TensorRef bits(DType dtype, const std::vector<int64_t>& shape);                             // random bits: NaN, infinities, subnormals
  static TensorRef transposed(const TensorRef& t);                                            // the last two dimensions exchanged
  static TensorRef permuted(const TensorRef& t, const std::vector<int>& order);
  static TensorRef sliced(const TensorRef& t, int axis, int64_t start, int64_t size, int64_t step = 1);
  static TensorRef broadcast(const TensorRef& t, const std::vector<int64_t>& shape);
  double get(const TensorRef& t, int64_t index) const;                                        // element in row-major order, as double

  // The whole buffer that a tensor lies in.
  struct Block {
    std::unique_ptr<char[]> data;
    int64_t bytes;
  };
  const Block& block_of(const TensorRef& t) const;

 private:
  std::vector<Block> blocks_;
};

// Both sides' results of one op, in the order of the row's R and M fields.
struct Results {
  struct One {
    std::string name;
    TensorRef shape;  // data: the CPU's bytes
    std::vector<char> cpu, device;
  };
  std::vector<One> list;
  template <class T> const T* device(size_t i) const { return reinterpret_cast<const T*>(list[i].device.data()); }
  template <class T> const T* cpu(size_t i) const { return reinterpret_cast<const T*>(list[i].cpu.data()); }
};

// Runs the op with these arguments (tensors in arena memory) on CPU and device. Outputs are poisoned before and begin at whole and odd elements in turns; changed tensors are copies on both sides.
Status run_both(const Arena& arena, const char* op, const void* args, Results* results);
// Only on the device: what an op answers where the CPU would fail, or has no result to compare.
Status run_device(const Arena& arena, const char* op, const void* args, Results* results);
void compare(const char* op, const Results& results, Tolerance tolerance, const char* file, int line);

template <class Args> struct DeviceOp {
  Args args{};
  Results results;
  explicit DeviceOp(const char* name) : name_(name) {}
  void check(const Arena& arena, Tolerance tolerance, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const Status status = run_both(arena, name_, &args, &results);
    checks++;
    if (!status.ok()) report_failure(file, line, "%s: %s", name_, status.message);
    else compare(name_, results, tolerance, file, line);
  }
  // CPU and device results without a comparison.
  Status run(const Arena& arena) { return run_both(arena, name_, &args, &results); }

 private:
  const char* name_;
};
#define DEVICE_OP(variable, op) ::tersor::test::DeviceOp<::tersor::op##_args> variable(#op)

}  // namespace test
}  // namespace tersor
