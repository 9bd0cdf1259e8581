#include "bindings/env.h"

#include <cmath>
#include <cstring>
#include <new>

namespace tersor {
namespace bindings {

namespace {
constexpr int kTagBits = 10;  // the other 16 of an exact double's 52 are the generation
constexpr uint32_t kTags = uint32_t(1) << kTagBits;

uint64_t next_tag() {
  static std::atomic<uint64_t> count{0};
  return count.fetch_add(1) % (kTags - 1) + 1;  // never 0, so no handle is a small number
}

double make_handle(uint32_t generation, uint64_t tag, uint32_t index) {
  return static_cast<double>((static_cast<uint64_t>(generation) << kTagBits | tag) << Env::kSlotBits | index);
}

// new Class(argument) for a class of the global object; null where there is none.
napi_value construct(napi_env env, const char* name, napi_value argument) {
  napi_value global = nullptr, type = nullptr, made = nullptr;
  napi_valuetype kind = napi_undefined;
  if (napi_get_global(env, &global) != napi_ok || napi_get_named_property(env, global, name, &type) != napi_ok) return nullptr;
  if (napi_typeof(env, type, &kind) != napi_ok || kind != napi_function) return nullptr;
  return napi_new_instance(env, type, 1, &argument, &made) == napi_ok ? made : nullptr;
}

// Memory of the page. Shared memory cannot be detached, so its address stays; a renderer of Electron may have none.
napi_value make_page(napi_env env, size_t count, double** data) {
  napi_typedarray_type type = napi_uint8_array;
  size_t length = 0;
  void* memory = nullptr;
  napi_value shared = construct(env, "SharedArrayBuffer", make_number(env, static_cast<double>(count * sizeof(double))));
  napi_value page = shared ? construct(env, "Float64Array", shared) : nullptr;
  bool is_typed = false;
  if (page && napi_is_typedarray(env, page, &is_typed) == napi_ok && is_typed &&
      napi_get_typedarray_info(env, page, &type, &length, &memory, nullptr, nullptr) == napi_ok && type == napi_float64_array && length == count) {
    *data = static_cast<double*>(memory);
    return page;
  }
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) napi_get_and_clear_last_exception(env, &page);
  napi_value buffer = nullptr;
  if (napi_create_arraybuffer(env, count * sizeof(double), &memory, &buffer) != napi_ok) return nullptr;
  if (napi_create_typedarray(env, napi_float64_array, count, buffer, 0, &page) != napi_ok) return nullptr;
  *data = static_cast<double*>(memory);
  return page;
}
}  // namespace

Env::Env(napi_env env) : env_(env), tag_(next_tag()), slots_(1) {  // slot 0 stays unused: handle 0 is never valid
  slots_[0] = Slot{TensorRef{}, 0, false, 0};
  napi_value page = make_page(env, kPageSize, &page_);
  if (page) napi_create_reference(env, page, 1, &page_ref_);
}

Env::~Env() {
  // A worker of ours that still runs finds no job any more.
  for (const uint32_t id : opened_jobs_) {
    if (const auto job = WorkerJob::find(id)) job->cancelled.store(true);
    WorkerJob::close(id);
  }
  for (Slot& s : slots_)
    if (s.live) storage_of(s.tensor)->release();
  for (Stream* stream : streams_) stream->drop();
}

Status Env::stream_on(const Library& library, int device, int* index) {
  for (size_t i = 0; i < streams_.size(); i++)
    if (&streams_[i]->library() == &library && streams_[i]->device() == device) return *index = static_cast<int>(i), Status();
  Stream* stream = nullptr;
  TERSOR_TRY(Stream::open(library, device, &stream));
  streams_.push_back(stream);
  *index = static_cast<int>(streams_.size()) - 1;
  return {};
}

Status Env::stream_like(const Place& other, Place** out) {
  const Stream& stream = static_cast<const Stream&>(other);  // the only kind there is
  int index = 0;
  TERSOR_TRY(stream_on(stream.library(), stream.device(), &index));
  *out = streams_[static_cast<size_t>(index)];
  return {};
}

double Env::insert(const TensorRef& t) {
  uint32_t index;
  if (free_.empty()) {
    if (slots_.size() >= kMaxSlots) throw std::bad_alloc();
    index = static_cast<uint32_t>(slots_.size());
    slots_.push_back(Slot{TensorRef{}, 0, false, 0});
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Slot& s = slots_[index];
  s.generation = (s.generation + 1) & 0xFFFF;
  copy_ref(s.tensor, t);
  s.live = true;
  live_++;
  Storage* storage = storage_of(t);
  if (storage->handles.fetch_add(1) == 0) bytes_ += storage->bytes;
  s.handle = make_handle(s.generation, tag_, index);
  return s.handle;
}

bool Env::release(double handle) {
  if (!lookup(handle)) return false;
  const uint32_t index = static_cast<uint32_t>(static_cast<uint64_t>(handle) & (kMaxSlots - 1));
  Slot& s = slots_[index];
  s.live = false;
  live_--;
  Storage* storage = storage_of(s.tensor);
  if (storage->handles.fetch_sub(1) == 1) bytes_ -= storage->bytes;
  storage->release();
  free_.push_back(index);
  return true;
}

void Env::put_result(int index, double handle, const TensorRef& t) {
  double* o = page_ + index * kOutStride;
  o[0] = handle;
  o[1] = static_cast<double>(static_cast<int32_t>(t.dtype));
  o[2] = t.rank;
  for (int i = 0; i < t.rank; i++) o[3 + i] = static_cast<double>(t.shape[i]);
}

void Env::account() {
  constexpr int64_t kStep = int64_t(4) << 20;
  const int64_t change = bytes_ - reported_;
  if (change < kStep && change > -kStep) return;
  int64_t total = 0;
  napi_adjust_external_memory(env_, change, &total);
  reported_ = bytes_;
}

bool define_function(napi_env env, napi_value object, const char* name, napi_callback callback, void* data) {
  napi_value f = nullptr;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &f) == napi_ok && napi_set_named_property(env, object, name, f) == napi_ok;
}

bool read_number(napi_env env, napi_value v, double* out) { return napi_get_value_double(env, v, out) == napi_ok; }

bool read_int(napi_env env, napi_value v, int64_t* out) {
  double d;
  if (!read_number(env, v, &d)) return false;
  if (!(d >= -9007199254740992.0 && d <= 9007199254740992.0) || d != std::floor(d)) return false;
  *out = static_cast<int64_t>(d);
  return true;
}

Status read_int_list(napi_env env, napi_value v, const char* where, IntList* out) {
  uint32_t n = 0;
  bool is_array = false;
  if (napi_is_array(env, v, &is_array) != napi_ok || !is_array || napi_get_array_length(env, v, &n) != napi_ok)
    return tersor::fail(Code::option, "%s must be a list of integers", where);
  if (n > static_cast<uint32_t>(kMaxRank)) return tersor::fail(Code::shape, "%s has %u entries, at most %d are allowed", where, n, kMaxRank);
  out->n = static_cast<int32_t>(n);
  for (uint32_t i = 0; i < n; i++) {
    napi_value item;
    if (napi_get_element(env, v, i, &item) != napi_ok || !read_int(env, item, &out->v[i]))
      return tersor::fail(Code::option, "%s[%u] must be an integer within +-2^53", where, i);
  }
  return {};
}

napi_value make_number(napi_env env, double v) {
  napi_value r = nullptr;
  napi_create_double(env, v, &r);
  return r;
}

napi_value make_string(napi_env env, const char* text) {
  napi_value r = nullptr;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &r);
  return r;
}

}  // namespace bindings
}  // namespace tersor
