#include "ops/transfer.h"

#include "ops/util.h"

namespace tersor {
namespace {

// A strided view is made row-major by the device's own copy.
Status pack_on(Place* place, const TensorRef& x, TensorRef& packed, void* out) {
  set_shape(packed, x.dtype, x.shape, x.rank);
  packed.data = out;
  packed.owner = nullptr;
  copy_args args{};
  args.x = x;
  args.y = packed;
  Context context;
  return place->call(static_cast<int>(Op::copy), &args, context);
}

Status from_device(const char* where, const TensorRef& x, Place* from, void* out, Place* to) {
  const int64_t bytes = x.bytes();
  TensorRef packed{};
  if (from == to) return x.contiguous() ? from->copy(out, x.data, bytes) : pack_on(from, x, packed, out);
  if (!x.contiguous()) {
    void* dense = nullptr;
    TERSOR_TRY(from->allocate(where, bytes, &dense));
    Status s = pack_on(from, x, packed, dense);
    if (s.ok()) s = from_device(where, packed, from, out, to);
    from->release(dense, bytes);
    return s;
  }
  if (!to) return from->download(out, x.data, bytes);
  Scratch scratch;
  TERSOR_TRY(scratch.reserve(where, bytes));
  TERSOR_TRY(from->download(scratch.as<void>(), x.data, bytes));
  return to->upload(out, scratch.as<void>(), bytes);
}

}  // namespace

Status transfer(const char* where, const TensorRef& x, Place* from, void* out, Place* to) {
  if (x.size() == 0) return {};
  if (from) return from_device(where, x, from, out, to);
  if (!to) return copy_contiguous(x, out, nullptr);
  Contiguous dense;
  TERSOR_TRY(dense.open(where, x, nullptr));
  return to->upload(out, dense.data(), x.bytes());
}

}  // namespace tersor
