// Memory and failures of the device through the table of backend.h.
#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

TERSOR_TEST(cuda_memory_counts_and_budget) {
  DeviceMemory before{}, now{};
  CHECK_OK(backend().memory(0, &before));
  void *a, *b;
  CHECK_OK(backend().allocate(stream(), 1000, &a));
  CHECK_OK(backend().allocate(stream(), 0, &b));
  CHECK(a && b && reinterpret_cast<uintptr_t>(a) % 256 == 0 && reinterpret_cast<uintptr_t>(b) % 256 == 0);
  CHECK_OK(backend().memory(0, &now));
  CHECK(now.bytes >= before.bytes + 1000 && now.blocks == before.blocks + 2 && now.peak >= now.bytes);
  backend().release(stream(), b, 0);
  backend().release(stream(), a, 1000);
  CHECK_OK(backend().memory(0, &now));
  CHECK(now.bytes == before.bytes && now.blocks == before.blocks && now.cached >= before.cached + 1000);
  CHECK_OK(backend().allocate(stream(), 1000, &b));
  CHECK(a == b);  // the kept block
  backend().release(stream(), b, 1000);
  backend().trim(0);
  CHECK_OK(backend().memory(0, &now));
  CHECK(now.cached == 0);
  CHECK_OK(backend().set_budget(0, now.bytes + 4096));
  CHECK_OK(backend().allocate(stream(), 2048, &a));
  CHECK(backend().allocate(stream(), int64_t(1) << 20, &b).code == Code::memory_budget);
  CHECK(backend().set_budget(0, -1).code == Code::option);
  backend().release(stream(), a, 2048);
  CHECK_OK(backend().set_budget(0, 0));
  CHECK(backend().describe(99, nullptr).code == Code::device);
}

TERSOR_TEST(cuda_transfers) {
  std::vector<char> x(3000), y(3000);
  for (auto& v : x) v = static_cast<char>(rng()());
  void *a, *b;
  CHECK_OK(backend().allocate(stream(), 3000, &a));
  CHECK_OK(backend().allocate(stream(), 3000, &b));
  CHECK_OK(backend().upload(stream(), a, x.data(), 3000));
  CHECK_OK(backend().fill(stream(), b, 0x5a, 3000));
  CHECK_OK(backend().copy(stream(), static_cast<char*>(b) + 1, a, 2000));
  CHECK_OK(backend().download(stream(), y.data(), b, 3000));
  CHECK(y[0] == 0x5a && !memcmp(y.data() + 1, x.data(), 2000) && y[2001] == 0x5a && y[2999] == 0x5a);
  CHECK_OK(backend().copy(stream(), b, a, 0));
  backend().release(stream(), a, 3000);
  backend().release(stream(), b, 3000);
}

TERSOR_TEST(cuda_injected_failures) {
  if (!backend().inject) return skip_case("built without injection");
  Arena arena;
  DEVICE_OP(op, add);
  op.args.a = op.args.b = arena.uniform(DType::f32, {10}, 0, 1);
  CHECK_OK(backend().inject(0, Fault::memory, 2));
  void *a, *b = nullptr;
  CHECK_OK(backend().allocate(stream(), 100, &a));
  CHECK(backend().allocate(stream(), 100, &b).code == Code::memory_budget);
  CHECK_OK(backend().allocate(stream(), 100, &b));
  backend().release(stream(), a, 100);
  backend().release(stream(), b, 100);
  if (!emulated()) return;  // a real device does not heal
  CHECK_OK(backend().inject(0, Fault::kernel, 1));
  CHECK(op.run(arena).code == Code::device);
  CHECK(backend().health(0).code == Code::device);
  CHECK(op.run(arena).code == Code::device);
  tersor_stream* other;
  CHECK(backend().open(0, &other).code == Code::device);
  CHECK_OK(backend().inject(0, Fault::kernel, 0));
  op.check(arena, exact());
  CHECK_OK(backend().inject(0, Fault::lost, 1));
  CHECK(op.run(arena).code == Code::device);
  CHECK_OK(backend().inject(0, Fault::lost, 0));
  op.check(arena, exact());
}

TERSOR_TEST(cuda_table_of_kernels) {
  CHECK(backend().kernel("add", "f32,f32") && backend().kernel("add", "i32,i32"));
  CHECK(!backend().kernel("add", "u8,u8") && !backend().kernel("add", "f3,f3") && !backend().kernel("no_such_op", "f32"));
  int rows = 0;
  while (backend().row(rows)) rows++;
  CHECK(rows > 0 && !backend().row(-1) && backend().hash == seam_hash() && backend().bytes == sizeof(Backend));
}
