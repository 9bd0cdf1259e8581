#include "backend/stream.h"

#include <cstring>
#include <memory>

#include "base/alloc.h"
#include "ops/schema.h"
#include "tensor/storage.h"

namespace tersor {
namespace {

constexpr int kBits = 4;
static_assert(static_cast<int>(DType::count) < (1 << kBits), "a dtype does not fit a signature");
static_assert(kMaxInputs + kMaxChanged <= 2 * 64 / kBits, "an op has more tensors than a signature");

bool is_operand(char kind) { return kind == 'T' || kind == 'O' || kind == 'M'; }

TensorRef& tensor_at(void* args, const Field& f) { return *reinterpret_cast<TensorRef*>(static_cast<char*>(args) + f.offset); }

// "f32,f32,-"
struct SignatureText {
  char text[(kMaxInputs + kMaxChanged) * 5 + 1];
  SignatureText(const Entry& entry, const void* args) {
    size_t at = 0;
    text[0] = 0;
    for (const Field* f = entry.fields; f->kind; f++) {
      if (!is_operand(f->kind)) continue;
      const TensorRef& t = tensor_at(const_cast<void*>(args), *f);
      at += static_cast<size_t>(snprintf(text + at, sizeof text - at, at ? ",%s" : "%s", t.present() ? dtype_name(t.dtype) : "-"));
    }
  }
};

// Copies of a call's tensors in the processor's memory.
class Copies {
 public:
  ~Copies() {
    for (int i = 0; i < count_; i++) deallocate(blocks_[i].data, blocks_[i].bytes);
  }
  Status add(const char* where, int64_t bytes, void** data) {
    TERSOR_TRY(allocate(where, bytes, data));
    blocks_[count_++] = {*data, bytes};
    return {};
  }

 private:
  struct Block {
    void* data;
    int64_t bytes;
  };
  Block blocks_[kMaxInputs + kMaxChanged + kMaxResults];
  int count_ = 0;
};

}  // namespace

Stream::Stream(const Library& library, int device, tersor_stream* stream)
    : library_(library), device_(device), stream_(stream), kernels_(static_cast<size_t>(op_count())), fallbacks_(static_cast<size_t>(op_count()), 0) {
  snprintf(name_, sizeof name_, "%.20s:%d", library.backend->name, device);
}

Stream::~Stream() { backend().close(stream_); }

Status Stream::open(const Library& library, int device, Stream** out) {
  *out = nullptr;
  tersor_stream* stream = nullptr;
  TERSOR_TRY(library.backend->open(device, &stream));
  *out = new Stream(library, device, stream);
  return {};
}

bool Stream::same_device(const Place& other) const { return strcmp(name_, other.name()) == 0; }

// A device that has failed stays failed, also for calls that the library could still answer (an allocation from its cache).
template <class F> Status Stream::locked(F&& f) {
  std::lock_guard<std::mutex> lock(mutex_);
  TERSOR_TRY(backend().health(device_));
  if (!late_.ok()) return std::exchange(late_, Status());
  return f();
}

Status Stream::allocate(const char* where, int64_t bytes, void** data) {
  *data = nullptr;
  const Status s = locked([&] { return backend().allocate(stream_, bytes, data); });
  if (s.ok() || s.code != Code::memory_budget) return s;
  return fail(s.code, "%s: %s", where, s.message);
}

void Stream::release(void* data, int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  backend().release(stream_, data, bytes);
}

Status Stream::upload(void* to, const void* from, int64_t bytes) {
  return locked([&] { return bytes > 0 ? backend().upload(stream_, to, from, bytes) : Status(); });
}

// Waits without the lock first: others may queue work meanwhile.
Status Stream::download(void* to, const void* from, int64_t bytes) {
  TERSOR_TRY(synchronize());
  return locked([&] { return bytes > 0 ? backend().download(stream_, to, from, bytes) : Status(); });
}

Status Stream::copy(void* to, const void* from, int64_t bytes) {
  return locked([&] { return bytes > 0 ? backend().copy(stream_, to, from, bytes) : Status(); });
}

Status Stream::fill(void* to, int byte, int64_t bytes) {
  return locked([&] { return bytes > 0 ? backend().fill(stream_, to, byte, bytes) : Status(); });
}

Status Stream::synchronize() {
  TERSOR_TRY(backend().health(device_));
  TERSOR_TRY(backend().synchronize(stream_));
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(late_, Status());
}

void Stream::settle() {
  const Status s = backend().synchronize(stream_);
  std::lock_guard<std::mutex> lock(mutex_);
  if (late_.ok()) late_ = s;
}

Stream::Signature Stream::signature_of(const Entry& entry, const void* args) {
  Signature s;
  int shift = 0;
  for (const Field* f = entry.fields; f->kind; f++) {
    if (!is_operand(f->kind)) continue;
    const TensorRef& t = tensor_at(const_cast<void*>(args), *f);
    const uint64_t code = t.present() ? static_cast<uint64_t>(t.dtype) + 1 : 0;
    (shift < 64 ? s.low : s.high) |= code << (shift & 63);
    shift += kBits;
  }
  return s;
}

Status Stream::call(int op, void* args, Context& context) {
  const Entry& entry = op_entry(op);
  const Signature signature = signature_of(entry, args);
  const Status s = locked([&]() -> Status {
    std::vector<Found>& known = kernels_[static_cast<size_t>(op)];
    KernelFn kernel = nullptr;
    bool asked = false;
    for (const Found& found : known)
      if (found.signature == signature) kernel = found.kernel, asked = true;
    if (!asked) {
      kernel = backend().kernel(entry.name, SignatureText(entry, args).text);
      known.push_back({signature, kernel});
    }
    if (kernel) return kernel(stream_, args);
    return fail(Code::unsupported, "%s(%s) has no kernel on %s: move its tensors to the cpu, or choose device(..., { fallback: true })", entry.name,
                SignatureText(entry, args).text, name_);
  });
  if (s.code != Code::unsupported || !fallback_) return s;
  return on_processor(op, entry, args, context);
}

Status Stream::on_processor(int op, const Entry& entry, void* args, Context& context) {
  alignas(std::max_align_t) char own[kMaxArgsBytes];
  memcpy(own, args, entry.bytes);
  Copies copies;
  for (const Field* f = entry.fields; f->kind; f++) {
    if (!is_operand(f->kind) && f->kind != 'R') continue;
    TensorRef& t = tensor_at(own, *f);
    if (!t.present()) continue;
    void* data = nullptr;
    const int64_t bytes = extent_bytes(t);
    TERSOR_TRY(copies.add(entry.name, bytes, &data));
    if (f->kind != 'R') TERSOR_TRY(download(data, t.data, bytes));
    t.data = data;
    t.owner = nullptr;
  }
  TERSOR_TRY(entry.cpu(own, context));
  for (const Field* f = entry.fields; f->kind; f++) {
    if (f->kind != 'M' && f->kind != 'R') continue;
    TensorRef& there = tensor_at(args, *f);
    const TensorRef& here = tensor_at(own, *f);
    if (!there.present()) continue;
    if (there.rank) there.shape[0] = here.shape[0];  // sized by its values
    TERSOR_TRY(upload(there.data, here.data, here.bytes()));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  fallbacks_[static_cast<size_t>(op)]++;
  return {};
}

std::vector<std::pair<int, int64_t>> Stream::fallbacks() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::pair<int, int64_t>> out;
  for (size_t i = 0; i < fallbacks_.size(); i++)
    if (fallbacks_[i] > 0) out.emplace_back(static_cast<int>(i), fallbacks_[i]);
  return out;
}

}  // namespace tersor
