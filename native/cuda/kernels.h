// Declarations of the entries in kernels.inc.
#pragma once
#include "cuda/stream.h"
#include "ops/args.h"

namespace tersor {
namespace cuda {

#define TERSOR_CUDA_OP(op, pattern, function) Status function(Stream& stream, op##_args& args);
#include "cuda/kernels.inc"
#undef TERSOR_CUDA_OP

}  // namespace cuda
}  // namespace tersor
