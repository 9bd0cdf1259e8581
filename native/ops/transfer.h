// Copies of tensors between the processor and devices.
#pragma once
#include "ops/op_table.h"
#include "tensor/place.h"

namespace tersor {

// The elements of x, which lies on `from`, in row-major order to memory on `to` (null: the processor). Between two devices they go through the processor's
// memory. Waits where the result is on the processor.
Status transfer(const char* where, const TensorRef& x, Place* from, void* out, Place* to);

}  // namespace tersor
