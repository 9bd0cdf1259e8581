// Ops with packed weights on device and CPU: each side packs for itself, then both compute.
#pragma once
#include "cuda/test/device_call.h"
#include "ops/schema.h"

namespace tersor {
namespace test {

// Bytes at a multiple of 64, as the CPU's packed layouts want them, in memory of the arena; `slack` bytes behind may be read.
inline TensorRef arena_bytes(Arena& arena, const std::vector<char>& bytes) {
  const int64_t n = static_cast<int64_t>(bytes.size());
  const TensorRef room = arena.make(DType::u8, {n + 128});
  const int64_t skip = (64 - reinterpret_cast<intptr_t>(room.data) % 64) % 64;
  const TensorRef t = Arena::sliced(room, 0, skip, n);
  memcpy(t.data, bytes.data(), bytes.size());
  return t;
}

// Random codes [m,k] with the slack that tensors have.
inline TensorRef arena_codes(Arena& arena, DType dtype, std::vector<int64_t> shape) {
  int64_t n = 1;
  for (const int64_t s : shape) n *= s;
  TensorRef t = arena.bits(dtype, {n + 64});
  set_shape(t, dtype, shape.data(), static_cast<int>(shape.size()));
  return t;
}

inline const Entry& entry_of(const char* op) {
  for (int i = 0; i < op_count(); i++)
    if (!strcmp(op_entry(i).name, op)) return op_entry(i);
  abort();
}

struct PackedBoth {
  TensorRef cpu, device;  // on the device a tensor starts at 256 bytes; here it is a whole block
};
template <class Args> PackedBoth pack_both(Arena& arena, const char* op, const Args& args) {
  Results r;
  CHECK_OK(run_both(arena, op, &args, &r));
  PackedBoth p{arena_bytes(arena, r.list[0].cpu), arena.make(DType::u8, {static_cast<int64_t>(r.list[0].device.size())})};
  memcpy(p.device.data, r.list[0].device.data(), r.list[0].device.size());
  return p;
}

// op on both sides, each with arguments of its own: packed bytes differ between them.
template <class Args> void check_sides(const Arena& arena, const char* op, const Args& device_args, Args cpu_args, Tolerance tolerance, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  Results r;
  const Status device = run_device(arena, op, &device_args, &r);
  checks++;
  if (!device.ok()) return report_failure(file, line, "%s on the device: %s", op, device.message);
  const Entry& entry = entry_of(op);
  Status cpu = entry.infer(&cpu_args);
  Context context;
  size_t next = 0;
  for (const Field* f = entry.fields; f->kind; f++) {
    if (f->kind != 'R') continue;
    TensorRef* const result = reinterpret_cast<TensorRef*>(reinterpret_cast<char*>(&cpu_args) + f->offset);
    result->data = r.list[next].cpu.data();
    r.list[next++].shape = *result;
  }
  if (cpu.ok()) cpu = entry.cpu(&cpu_args, context);
  if (!cpu.ok()) return report_failure(file, line, "%s on the CPU: %s", op, cpu.message);
  compare(op, r, tolerance, file, line);
}

// op(args) on both sides, each with its own `packed`.
template <class Args> void check_packed(const Arena& arena, const char* op, const Args& args, const PackedBoth& packed, Tolerance tolerance, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  Args device = args, cpu = args;
  device.packed = packed.device, cpu.packed = packed.cpu;
  check_sides(arena, op, device, cpu, tolerance, file, line);
}

}  // namespace test
}  // namespace tersor
