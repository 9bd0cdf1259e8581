// The argument struct of every op, from ops.def: plain data, the same for the CPU, an asynchronous job and a device plug-in.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/status.h"
#include "base/tensor_ref.h"

namespace tersor {

#define TERSOR_ENUM(name, ...) enum class name : int64_t { __VA_ARGS__ };
#include "ops/enums.def"
#undef TERSOR_ENUM

#define T(n) TensorRef n;
#define O(n) TensorRef n;
#define M(n) TensorRef n;
#define R(n) TensorRef n;
#define I(n) int64_t n;
#define F(n) double n;
#define B(n) bool n;
#define L(n) IntList n;
#define D(n) DType n;
#define E(e, n) e n;
#define OP(name, fields) struct name##_args { fields };
#include "ops/ops.def"

// What an op body gets besides its arguments.
struct Context {
  const std::atomic<bool>* cancel = nullptr;
};

// infer: checks shapes, dtypes and options for every device and sets shape and dtype of the results; touches no data.
// cpu: computes. Result memory is allocated by the caller between the two, row-major, uninitialised. A cpu body may shrink a rank-1
// result (set its shape[0] smaller) when the size depends on the data. Inputs may be strided views; see ops/util.h.
#define OP(name, fields)            \
  Status name##_infer(name##_args&); \
  Status name##_cpu(name##_args&, Context&);
#include "ops/ops.def"

}  // namespace tersor
