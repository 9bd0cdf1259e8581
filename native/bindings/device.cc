// Devices: loading the library of a kind, what its devices are, queues on them, the scope that says where tensors are made. A device is known to JavaScript
// by the number of the environment's queue on it, from 1; 0 is the processor.
#include <string>

#include "bindings/env.h"
#include "ops/op_table.h"

namespace tersor {
namespace bindings {
namespace {

struct Arguments {
  napi_env env;
  Env* state;
  napi_value v[3];
  size_t count;
};
using Body = Status (*)(const Arguments& a, napi_value* out);
struct Bound {
  Env* state;
  Body body;
};

// What a body gives, or -1 and lastError.
napi_value dispatch(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    Arguments a{env, nullptr, {}, 3};
    void* data = nullptr;
    if (napi_get_cb_info(env, info, &a.count, a.v, nullptr, &data) != napi_ok) return nullptr;
    const Bound* bound = static_cast<const Bound*>(data);
    a.state = bound->state;
    napi_value out = nullptr;
    const Status s = bound->body(a, &out);
    return s.ok() ? out : make_number(env, a.state->fail(s));
  });
}

bool read_text(napi_env env, napi_value v, std::string* out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, v, nullptr, 0, &length) != napi_ok) return false;
  out->resize(length + 1);
  if (napi_get_value_string_utf8(env, v, &(*out)[0], length + 1, &length) != napi_ok) return false;
  out->resize(length);
  return true;
}

// The library of a kind that deviceLoad has loaded.
Status library_of(const Arguments& a, const Library** out) {
  std::string name;
  if (a.count < 1 || !read_text(a.env, a.v[0], &name)) return fail(Code::option, "device: the name of a kind is needed");
  *out = loaded_library(name.c_str());
  return *out ? Status() : fail(Code::device, "device: no library for %s is loaded", name.c_str());
}

Status index_of(const Arguments& a, size_t at, int64_t* out) {
  if (a.count <= at || !read_int(a.env, a.v[at], out)) return fail(Code::option, "device: a whole number is needed");
  return {};
}

Status stream_of(const Arguments& a, Stream** out) {
  int64_t id = 0;
  TERSOR_TRY(index_of(a, 0, &id));
  if (id < 1 || id > static_cast<int64_t>(a.state->streams_.size())) return fail(Code::device, "device: this thread has no device with number %lld", static_cast<long long>(id));
  *out = a.state->streams_[static_cast<size_t>(id - 1)];
  return {};
}

void set_number(napi_env env, napi_value object, const char* name, int64_t v) {
  napi_set_named_property(env, object, name, make_number(env, static_cast<double>(v)));
}
void set_text(napi_env env, napi_value object, const char* name, const char* v) { napi_set_named_property(env, object, name, make_string(env, v)); }

// deviceLoad(kind, files) -> "" or why there is none
Status load(const Arguments& a, napi_value* out) {
  std::string name, why;
  std::vector<std::string> paths;
  uint32_t n = 0;
  if (a.count < 2 || !read_text(a.env, a.v[0], &name) || napi_get_array_length(a.env, a.v[1], &n) != napi_ok)
    return fail(Code::option, "device: a kind and a list of files are needed");
  for (uint32_t i = 0; i < n; i++) {
    napi_value v = nullptr;
    std::string path;
    if (napi_get_element(a.env, a.v[1], i, &v) != napi_ok || !read_text(a.env, v, &path)) return fail(Code::option, "device: file %u is no text", i);
    paths.push_back(path);
  }
  *out = make_string(a.env, load_library(name.c_str(), paths, &why) ? "" : why.empty() ? "no file" : why.c_str());
  return {};
}

// deviceLibrary(kind) -> { path, build, rows }
Status describe_library(const Arguments& a, napi_value* out) {
  const Library* library = nullptr;
  TERSOR_TRY(library_of(a, &library));
  napi_value rows = nullptr;
  napi_create_object(a.env, out);
  napi_create_array(a.env, &rows);
  set_text(a.env, *out, "path", library->path.c_str());
  set_text(a.env, *out, "build", library->backend->build);
  for (int32_t i = 0;; i++) {
    const char* const row = library->backend->row(i);
    if (!row) break;
    napi_set_element(a.env, rows, static_cast<uint32_t>(i), make_string(a.env, row));
  }
  napi_set_named_property(a.env, *out, "rows", rows);
  return {};
}

// deviceCount(kind)
Status count(const Arguments& a, napi_value* out) {
  const Library* library = nullptr;
  int32_t n = 0;
  TERSOR_TRY(library_of(a, &library));
  TERSOR_TRY(library->backend->count(&n));
  *out = make_number(a.env, n);
  return {};
}

// deviceInfo(kind, index)
Status info(const Arguments& a, napi_value* out) {
  const Library* library = nullptr;
  int64_t index = 0;
  DeviceInfo d{};
  TERSOR_TRY(library_of(a, &library));
  TERSOR_TRY(index_of(a, 1, &index));
  TERSOR_TRY(library->backend->describe(static_cast<int32_t>(index), &d));
  napi_create_object(a.env, out);
  set_text(a.env, *out, "name", d.name);
  set_text(a.env, *out, "driver", d.driver);
  set_text(a.env, *out, "uuid", d.uuid);
  set_number(a.env, *out, "driverVersion", d.driver_version);
  set_number(a.env, *out, "runtimeVersion", d.runtime_version);
  set_number(a.env, *out, "sm", d.sm);
  set_number(a.env, *out, "multiprocessors", d.multiprocessors);
  set_number(a.env, *out, "sharedBytes", d.shared_bytes);
  set_number(a.env, *out, "clockKHz", d.clock_khz);
  set_number(a.env, *out, "l2Bytes", d.l2_bytes);
  set_number(a.env, *out, "memoryBytes", d.memory);
  set_number(a.env, *out, "freeBytes", d.free);
  return {};
}

// deviceOpen(kind, index) -> number of the queue
Status open(const Arguments& a, napi_value* out) {
  const Library* library = nullptr;
  int64_t index = 0;
  int32_t devices = 0;
  int stream = 0;
  TERSOR_TRY(library_of(a, &library));
  TERSOR_TRY(index_of(a, 1, &index));
  TERSOR_TRY(library->backend->count(&devices));
  if (index < 0 || index >= devices)
    return fail(Code::device, "device: %s:%lld does not exist, there %s %d", library->backend->name, static_cast<long long>(index), devices == 1 ? "is" : "are", devices);
  TERSOR_TRY(a.state->stream_on(*library, static_cast<int>(index), &stream));
  *out = make_number(a.env, stream + 1);
  return {};
}

// deviceOf(handle) -> number, 0 for the processor
Status of_tensor(const Arguments& a, napi_value* out) {
  double handle = 0;
  const TensorRef* t = a.count > 0 && read_number(a.env, a.v[0], &handle) ? a.state->lookup(handle) : nullptr;
  if (!t) return fail(Code::disposed, "device: the tensor was disposed or belongs to another thread");
  int n = 0;
  const auto& streams = a.state->streams_;
  for (size_t i = 0; i < streams.size(); i++)
    if (streams[i] == tensor_place(*t)) n = static_cast<int>(i) + 1;
  *out = make_number(a.env, n);
  return {};
}

// deviceName(number) -> "cuda:0"
Status name(const Arguments& a, napi_value* out) {
  Stream* stream = nullptr;
  TERSOR_TRY(stream_of(a, &stream));
  *out = make_string(a.env, stream->name());
  return {};
}

// deviceUse(number): tensors that no tensor decides are made there from now on
Status use(const Arguments& a, napi_value* out) {
  int64_t id = 0;
  Stream* stream = nullptr;
  TERSOR_TRY(index_of(a, 0, &id));
  if (id != 0) TERSOR_TRY(stream_of(a, &stream));
  a.state->scope_place_ = stream;
  *out = make_number(a.env, 0);
  return {};
}

Status synchronize(const Arguments& a, napi_value* out) {
  Stream* stream = nullptr;
  TERSOR_TRY(stream_of(a, &stream));
  *out = make_number(a.env, 0);
  return stream->synchronize();
}

// deviceFallback(number, on?) -> { on, ops: { name: times } }
Status fallback(const Arguments& a, napi_value* out) {
  Stream* stream = nullptr;
  bool on = false;
  TERSOR_TRY(stream_of(a, &stream));
  if (a.count > 1 && napi_get_value_bool(a.env, a.v[1], &on) == napi_ok) stream->set_fallback(on);
  napi_value ops = nullptr, is_on = nullptr;
  napi_create_object(a.env, out);
  napi_create_object(a.env, &ops);
  napi_get_boolean(a.env, stream->fallback(), &is_on);
  for (const auto& entry : stream->fallbacks()) set_number(a.env, ops, op_entry(entry.first).name, entry.second);
  napi_set_named_property(a.env, *out, "on", is_on);
  napi_set_named_property(a.env, *out, "ops", ops);
  return {};
}

// deviceMemory(number, what?, bytes) -> numbers. what: 1 new peak, 2 budget, 3 give back what is cached
Status memory(const Arguments& a, napi_value* out) {
  Stream* stream = nullptr;
  int64_t what = 0, bytes = 0;
  DeviceMemory m{};
  TERSOR_TRY(stream_of(a, &stream));
  const Backend& b = stream->backend();
  if (a.count > 1) TERSOR_TRY(index_of(a, 1, &what));
  if (what == 1) b.reset_peak(stream->device());
  if (what == 2) {
    if (!index_of(a, 2, &bytes).ok() || bytes < 0) return fail(Code::option, "device: the memory budget must be a whole number of bytes, 0 or more");
    TERSOR_TRY(b.set_budget(stream->device(), bytes));
  }
  if (what == 3) b.trim(stream->device());
  TERSOR_TRY(b.memory(stream->device(), &m));
  napi_create_object(a.env, out);
  set_number(a.env, *out, "bytes", m.bytes);
  set_number(a.env, *out, "peakBytes", m.peak);
  set_number(a.env, *out, "blocks", m.blocks);
  set_number(a.env, *out, "cachedBytes", m.cached);
  set_number(a.env, *out, "budgetBytes", m.budget);
  return {};
}

// deviceInject(number, fault, n): what a test makes happen
Status inject(const Arguments& a, napi_value* out) {
  Stream* stream = nullptr;
  int64_t fault = 0, n = 0;
  TERSOR_TRY(stream_of(a, &stream));
  TERSOR_TRY(index_of(a, 1, &fault));
  TERSOR_TRY(index_of(a, 2, &n));
  if (!stream->backend().inject) return fail(Code::unsupported, "device: %s injects no faults", stream->name());
  TERSOR_TRY(stream->backend().inject(stream->device(), static_cast<Fault>(fault), n));
  *out = make_number(a.env, 0);
  return {};
}

}  // namespace

void register_device_functions(napi_env env, napi_value exports, Env* state) {
  static const struct {
    const char* name;
    Body body;
  } kFunctions[] = {
      {"deviceLoad", load},       {"deviceLibrary", describe_library}, {"deviceCount", count},       {"deviceInfo", info},     {"deviceOpen", open},     {"deviceOf", of_tensor},
      {"deviceName", name},       {"deviceUse", use},                  {"deviceSynchronize", synchronize}, {"deviceFallback", fallback}, {"deviceMemory", memory}, {"deviceInject", inject},
  };
  for (const auto& f : kFunctions) {
    Bound* bound = new Bound{state, f.body};
    if (!define_function(env, exports, f.name, dispatch, bound)) {
      delete bound;
      return;
    }
    napi_add_env_cleanup_hook(env, [](void* p) { delete static_cast<Bound*>(p); }, bound);
  }
}

}  // namespace bindings
}  // namespace tersor
