// Queues on devices without a device: signatures, kernels looked up once, the processor in place of a missing kernel, failed devices, tensors that lie there.
#include "backend/stream.h"
#include "base/alloc.h"
#include "ops/transfer.h"
#include "tensor/storage.h"
#include "test/test.h"

namespace tersor {
namespace {

// A library whose device is malloc.
struct Fake {
  int64_t blocks = 0, uploads = 0, downloads = 0, lookups = 0, closed = 0;
  bool kernels = false, refuses = false, failed = false;
  std::string signature;
} fake;

Status health(int32_t) { return fake.failed ? fail(Code::device, "fake:0: a kernel faulted") : Status(); }
Status allocate_fake(tersor_stream*, int64_t bytes, void** data) {
  if (bytes > 1 << 20) return fail(Code::memory_budget, "out of memory");
  *data = malloc(static_cast<size_t>(bytes) + 1);
  fake.blocks++;
  return {};
}
void release_fake(tersor_stream*, void* data, int64_t) {
  free(data);
  fake.blocks--;
}
Status move(tersor_stream*, void* to, const void* from, int64_t bytes) { return memcpy(to, from, static_cast<size_t>(bytes)), Status(); }
Status up(tersor_stream* s, void* to, const void* from, int64_t bytes) { return fake.uploads++, move(s, to, from, bytes); }
Status down(tersor_stream* s, void* to, const void* from, int64_t bytes) { return fake.downloads++, move(s, to, from, bytes); }
Status copy_kernel(tersor_stream*, void* args) {
  if (fake.refuses) return fail(Code::unsupported, "copy: not for this shape");
  Context context;
  return copy_cpu(*static_cast<copy_args*>(args), context);
}
KernelFn kernel(const char* op, const char* signature) {
  fake.lookups++;
  fake.signature = std::string(op) + " " + signature;
  return fake.kernels && strcmp(op, "copy") == 0 ? copy_kernel : nullptr;
}

const Backend& table() {
  static Backend b{};
  b.abi = kBackendAbi;
  b.name = "fake";
  b.health = health;
  b.open = [](int32_t, tersor_stream** s) -> Status { return *s = reinterpret_cast<tersor_stream*>(&fake), Status(); };
  b.close = [](tersor_stream*) { fake.closed++; };
  b.synchronize = [](tersor_stream*) -> Status { return {}; };
  b.allocate = allocate_fake;
  b.release = release_fake;
  b.upload = up;
  b.download = down;
  b.copy = move;
  b.fill = [](tersor_stream*, void* to, int32_t byte, int64_t bytes) -> Status { return memset(to, byte, static_cast<size_t>(bytes)), Status(); };
  b.kernel = kernel;
  return b;
}

struct Opened {
  Library library{&table(), "fake"};
  Stream* stream = nullptr;
  Opened() {
    fake = Fake();
    CHECK_OK(Stream::open(library, 0, &stream));
  }
  ~Opened() {
    if (stream) stream->drop();
  }
  TensorRef tensor(std::initializer_list<int64_t> shape) {
    TensorRef t{};
    set_shape(t, DType::f32, shape.begin(), static_cast<int>(shape.size()));
    CHECK_OK(allocate_tensor("test", t, stream));
    return t;
  }
};

TERSOR_TEST(backend_hash_of_a_library_is_that_of_the_core) { CHECK(seam_hash() == core_seam_hash()); }

TERSOR_TEST(backend_storage_lives_and_dies_on_its_place) {
  Opened o;
  const TensorRef t = o.tensor({2, 3});
  CHECK(tensor_place(t) == o.stream && fake.blocks == 1);
  CHECK(std::string(o.stream->name()) == "fake:0");
  // Another environment's record of the same memory, which ends last.
  Storage* const shared = Storage::share(storage_of(t), o.stream);
  storage_of(t)->release();
  CHECK(fake.blocks == 1);
  o.stream->drop();
  o.stream = nullptr;
  CHECK(fake.closed == 0);
  shared->release();
  CHECK(fake.blocks == 0 && fake.closed == 1);
  TensorRef large{};
  const int64_t n = 1 << 20;
  Opened again;
  set_shape(large, DType::f32, &n, 1);
  CHECK(allocate_tensor("test", large, again.stream).code == Code::memory_budget);
}

TERSOR_TEST(backend_transfer_makes_views_row_major) {
  Opened o;
  fake.kernels = true;
  float host[6] = {0, 1, 2, 3, 4, 5}, back[6] = {};
  TensorRef x{};
  const int64_t shape[] = {2, 3};
  set_shape(x, DType::f32, shape, 2);
  x.data = host;
  TensorRef view = x;
  view.shape[0] = 3, view.shape[1] = 2, view.stride[0] = 1, view.stride[1] = 3;
  const TensorRef there = o.tensor({3, 2});
  CHECK_OK(transfer("test", view, nullptr, there.data, o.stream));  // strided here
  CHECK_OK(transfer("test", there, o.stream, back, nullptr));
  const float expected[] = {0, 3, 1, 4, 2, 5};
  for (int i = 0; i < 6; i++) CHECK(back[i] == expected[i]);
  TensorRef again = there;
  again.shape[0] = 2, again.shape[1] = 3, again.stride[0] = 1, again.stride[1] = 2;
  CHECK_OK(transfer("test", again, o.stream, back, nullptr));  // strided there
  for (int i = 0; i < 6; i++) CHECK(back[i] == host[i]);
  CHECK(fake.blocks == 1);
  storage_of(there)->release();
}

TERSOR_TEST(backend_kernels_are_looked_up_once_for_each_signature) {
  Opened o;
  fake.kernels = true;
  const TensorRef x = o.tensor({4}), y = o.tensor({4});
  copy_args a{};
  a.x = x, a.y = y;
  Context context;
  for (int i = 0; i < 3; i++) CHECK_OK(o.stream->call(static_cast<int>(Op::copy), &a, context));
  CHECK(fake.lookups == 1 && fake.signature == "copy f32");
  linear_args l{};
  l.x = x, l.w = y, l.y = y;
  l.x.dtype = DType::f64;
  const Status s = o.stream->call(static_cast<int>(Op::linear), &l, context);
  CHECK(s.code == Code::unsupported && fake.signature == "linear f64,f32,-");
  CHECK_MSG(strstr(s.message, "linear(f64,f32,-) has no kernel on fake:0") != nullptr, "%s", s.message);
  storage_of(x)->release();
  storage_of(y)->release();
}

TERSOR_TEST(backend_processor_in_place_of_a_missing_kernel_only_where_chosen) {
  Opened o;
  const TensorRef x = o.tensor({3}), y = o.tensor({3});
  const float values[] = {1, -2, 3};
  CHECK_OK(o.stream->upload(x.data, values, sizeof values));
  axpby_args a{};  // changes y in place: y = 2 x + y
  a.y = y, a.x = x, a.alpha = 2, a.beta = 1;
  CHECK_OK(o.stream->fill(y.data, 0, y.bytes()));
  Context context;
  CHECK(o.stream->call(static_cast<int>(Op::axpby), &a, context).code == Code::unsupported);
  o.stream->set_fallback(true);
  CHECK_OK(o.stream->call(static_cast<int>(Op::axpby), &a, context));
  float back[3];
  CHECK_OK(o.stream->download(back, y.data, sizeof back));
  CHECK(back[0] == 2 && back[1] == -4 && back[2] == 6);
  CHECK(o.stream->fallbacks().size() == 1 && o.stream->fallbacks()[0].first == static_cast<int>(Op::axpby) && o.stream->fallbacks()[0].second == 1);
  // A kernel that refuses the shape counts as missing; errors of the computation stay errors.
  fake.kernels = fake.refuses = true;
  copy_args c{};
  c.x = x, c.y = y;
  CHECK_OK(o.stream->call(static_cast<int>(Op::copy), &c, context));
  CHECK(o.stream->fallbacks().size() == 2);
  storage_of(x)->release();
  storage_of(y)->release();
}

TERSOR_TEST(backend_a_failed_device_stays_failed) {
  Opened o;
  const TensorRef x = o.tensor({3});
  fake.failed = true;
  void* data = nullptr;
  float back[3];
  Context context;
  copy_args c{};
  c.x = c.y = x;
  CHECK(o.stream->allocate("test", 4, &data).code == Code::device && data == nullptr);
  CHECK(o.stream->upload(x.data, back, 12).code == Code::device);
  CHECK(o.stream->download(back, x.data, 12).code == Code::device);
  CHECK(o.stream->synchronize().code == Code::device);
  CHECK(o.stream->call(static_cast<int>(Op::copy), &c, context).code == Code::device);
  storage_of(x)->release();  // still takes it back
  CHECK(fake.blocks == 0);
}

}  // namespace
}  // namespace tersor
