// Handles and data: create, view, release, copies in and out. JavaScript memory is only touched here, on the JavaScript thread,
// during the call; no external ArrayBuffers.
#include <cstring>

#include "bindings/env.h"
#include "ops/strided.h"
#include "ops/transfer.h"

namespace tersor {
namespace bindings {
namespace {

template <size_t N> Env* arguments(napi_env env, napi_callback_info info, napi_value (&argv)[N], size_t* argc) {
  *argc = N;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, argc, argv, nullptr, &data) != napi_ok) return nullptr;
  return static_cast<Env*>(data);
}

int result(Env* state, TensorRef& t) {
  state->put_result(0, state->insert(t), t);
  state->account();
  return 1;
}

Status read_dtype(napi_env env, napi_value v, DType* out) {
  int64_t i;
  if (!read_int(env, v, &i) || i < 0 || i >= static_cast<int64_t>(DType::count)) return fail(Code::dtype, "create: unknown element type");
  *out = static_cast<DType>(i);
  return {};
}

// A tensor whose content could not be made is gone.
Status or_release(const TensorRef& t, const Status& s) {
  if (!s.ok()) storage_of(t)->release();
  return s;
}

// create(dtype, shape) -> zero-filled tensor
napi_value create(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[2];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    auto body = [&]() -> Status {
      TensorRef t{};
      DType dtype = DType::f32;
      IntList shape;
      if (argc < 2) return fail(Code::option, "create: dtype and shape are needed");
      TERSOR_TRY(read_dtype(env, argv[0], &dtype));
      TERSOR_TRY(read_int_list(env, argv[1], "create: shape", &shape));
      for (int i = 0; i < shape.n; i++)
        if (shape.v[i] < 0) return fail(Code::shape, "create: dimensions must be >= 0, got %lld", static_cast<long long>(shape.v[i]));
      set_shape(t, dtype, shape.v, shape.n);
      Place* const place = state->scope_place_;
      TERSOR_TRY(allocate_tensor("create", t, place));
      if (place) TERSOR_TRY(or_release(t, place->fill(t.data, 0, t.bytes())));
      else memset(t.data, 0, static_cast<size_t>(t.bytes()));
      if (state->recording_) state->recording_->created(t);
      result(state, t);
      return {};
    };
    const Status s = body();
    return make_number(env, s.ok() ? 1 : state->fail(s));
  });
}

// createFrom(dtype, shape, array, turned) -> tensor of the array's bytes, in one pass over fresh memory. turned: the array holds the rows of the transposed
// matrix; its bytes may stand at any address.
napi_value create_from(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[4];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    auto body = [&]() -> Status {
      TensorRef t{};
      DType dtype = DType::f32;
      IntList shape;
      bool turned = false;
      if (argc < 4 || napi_get_value_bool(env, argv[3], &turned) != napi_ok) return fail(Code::option, "create: dtype, shape, array and direction are needed");
      TERSOR_TRY(read_dtype(env, argv[0], &dtype));
      TERSOR_TRY(read_int_list(env, argv[1], "create: shape", &shape));
      napi_typedarray_type type;
      void* data = nullptr;
      size_t bytes = 0;
      TERSOR_TRY(typed_bytes(env, "create", argv[2], &type, &data, &bytes));
      for (int i = 0; i < shape.n; i++)
        if (shape.v[i] < 0) return fail(Code::shape, "create: dimensions must be >= 0, got %lld", static_cast<long long>(shape.v[i]));
      if (turned && shape.n != 2) return fail(Code::shape, "create: only a matrix can be turned, got rank %d", shape.n);
      set_shape(t, dtype, shape.v, shape.n);
      if (!array_fits(dtype, type) && type != napi_uint8_array) return fail(Code::dtype, "create: the array's element type does not fit %s", TERSOR_TEXT(t));
      if (static_cast<int64_t>(bytes) != t.bytes())
        return fail(Code::shape, "create: the array has %lld bytes, %s has %lld", static_cast<long long>(bytes), TERSOR_TEXT(t), static_cast<long long>(t.bytes()));
      Place* const place = state->scope_place_;
      TERSOR_TRY(allocate_tensor("create", t, place));
      if (bytes > 0 && turned) {
        TensorRef from = t;
        from.data = data;
        from.stride[0] = 1, from.stride[1] = t.shape[0];
        TERSOR_TRY(or_release(t, place ? transfer("create", from, nullptr, t.data, place) : strided_copy(from, t, nullptr)));
      } else if (bytes > 0) {
        if (place) TERSOR_TRY(or_release(t, place->upload(t.data, data, t.bytes())));
        else memcpy(t.data, data, bytes);
      }
      if (state->recording_) state->recording_->created(t);
      result(state, t);
      return {};
    };
    const Status s = body();
    return make_number(env, s.ok() ? 1 : state->fail(s));
  });
}

// view(handle, shape, strides, offset) -> tensor that shares the storage
napi_value view(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[4];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    auto body = [&]() -> Status {
      double handle = 0;
      IntList shape, stride;
      int64_t offset;
      if (argc < 4 || !read_number(env, argv[0], &handle) || !read_int(env, argv[3], &offset)) return fail(Code::option, "view: handle, shape, strides, offset are needed");
      // Lists first: a getter among their elements may run JavaScript, which may dispose the tensor.
      TERSOR_TRY(read_int_list(env, argv[1], "view: shape", &shape));
      TERSOR_TRY(read_int_list(env, argv[2], "view: strides", &stride));
      const TensorRef* base = state->lookup(handle);
      if (!base) return fail(Code::disposed, "view: the tensor was disposed or belongs to another thread");
      if (shape.n != stride.n) return fail(Code::shape, "view: shape and strides must have the same length");
      TensorRef t;
      TERSOR_TRY(make_view(*base, shape.v, stride.v, shape.n, offset, &t));
      storage_of(t)->retain();
      result(state, t);
      return {};
    };
    const Status s = body();
    return make_number(env, s.ok() ? 1 : state->fail(s));
  });
}

enum class Direction { into_tensor, out_of_tensor };

napi_value transfer(napi_env env, napi_callback_info info, Direction direction) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[2];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    const char* where = direction == Direction::into_tensor ? "write" : "read";
    auto body = [&]() -> Status {
      double handle = 0;
      if (argc < 2 || !read_number(env, argv[0], &handle)) return fail(Code::option, "%s: handle and typed array are needed", where);
      const TensorRef* t = state->lookup(handle);
      if (!t) return fail(Code::disposed, "%s: the tensor was disposed or belongs to another thread", where);
      if (!t->contiguous()) return fail(Code::shape, "%s: the tensor is a strided view", where);
      napi_typedarray_type type;
      void* data = nullptr;
      size_t bytes = 0;
      TERSOR_TRY(typed_bytes(env, where, argv[1], &type, &data, &bytes));
      if (!array_fits(t->dtype, type) && type != napi_uint8_array)
        return fail(Code::dtype, "%s: the array's element type does not fit %s", where, TERSOR_TEXT(*t));
      if (static_cast<int64_t>(bytes) != t->bytes())
        return fail(Code::shape, "%s: the array has %lld bytes, %s has %lld", where, static_cast<long long>(bytes), TERSOR_TEXT(*t), static_cast<long long>(t->bytes()));
      if (bytes == 0) return {};
      Place* const place = tensor_place(*t);
      if (direction == Direction::into_tensor) {
        if (storage_of(*t)->in_use()) return fail(Code::busy, "write: the tensor is in use by an asynchronous call or a session");
        if (state->recording_) state->recording_->written(*t);
        if (place) return place->upload(t->data, data, t->bytes());
        memcpy(t->data, data, bytes);
      } else {
        if (state->recording_) state->recording_->read(*t);
        if (place) return place->download(data, t->data, t->bytes());
        memcpy(data, t->data, bytes);
      }
      return {};
    };
    const Status s = body();
    return make_number(env, s.ok() ? 0 : state->fail(s));
  });
}

napi_value write(napi_env env, napi_callback_info info) { return transfer(env, info, Direction::into_tensor); }
napi_value read(napi_env env, napi_callback_info info) { return transfer(env, info, Direction::out_of_tensor); }

// toDevice(handle, device) -> a row-major copy on that device (0: the processor); where it lies there already, the same memory
napi_value to_device(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[2];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    auto body = [&]() -> Status {
      double handle = 0;
      int64_t device = 0;
      if (argc < 2 || !read_number(env, argv[0], &handle) || !read_int(env, argv[1], &device) || device < 0 || device > static_cast<int64_t>(state->streams_.size()))
        return fail(Code::option, "to: a tensor and a device of this thread are needed");
      const TensorRef* found = state->lookup(handle);
      if (!found) return fail(Code::disposed, "to: the tensor was disposed or belongs to another thread");
      const TensorRef from = *found;
      Place* const place = device == 0 ? nullptr : state->streams_[static_cast<size_t>(device - 1)];
      TensorRef t = from;
      if (tensor_place(from) == place) {
        storage_of(t)->retain();
        result(state, t);
        return {};
      }
      if (state->recording_) state->recording_->read(from);
      set_shape(t, from.dtype, from.shape, from.rank);
      TERSOR_TRY(allocate_tensor("to", t, place));
      TERSOR_TRY(or_release(t, transfer("to", from, tensor_place(from), t.data, place)));
      if (state->recording_) state->recording_->created(t);
      result(state, t);
      return {};
    };
    const Status s = body();
    return make_number(env, s.ok() ? 1 : state->fail(s));
  });
}

napi_value release(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    double handle = 0;
    if (!state) return nullptr;
    const bool released = argc == 1 && read_number(env, argv[0], &handle) && state->release(handle);
    state->account();
    napi_value r = nullptr;
    napi_get_boolean(env, released, &r);
    return r;
  });
}

}  // namespace

Status typed_bytes(napi_env env, const char* where, napi_value v, napi_typedarray_type* type, void** data, size_t* bytes) {
  bool is_typed = false;
  if (napi_is_typedarray(env, v, &is_typed) != napi_ok || !is_typed) return fail(Code::dtype, "%s: a typed array is needed", where);
  size_t length = 0, offset = 0;
  napi_value buffer = nullptr;
  if (napi_get_typedarray_info(env, v, type, &length, data, &buffer, &offset) != napi_ok) return fail(Code::buffer_detached, "%s: unreadable typed array", where);
  static const size_t kWidth[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  *bytes = length * kWidth[*type];
  bool detached = false;
  if (napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && detached)
    return fail(Code::buffer_detached, "%s: the array's buffer was transferred away", where);
  return {};
}

bool array_fits(DType t, napi_typedarray_type type) {
  switch (t) {
    case DType::f64: return type == napi_float64_array;
    case DType::f32: return type == napi_float32_array;
    case DType::f16: case DType::bf16: case DType::u16: return type == napi_uint16_array;
    case DType::i64: return type == napi_bigint64_array;
    case DType::i32: return type == napi_int32_array;
    case DType::i16: return type == napi_int16_array;
    case DType::i8: return type == napi_int8_array;
    default: return type == napi_uint8_array || type == napi_uint8_clamped_array;
  }
}

void register_tensor_functions(napi_env env, napi_value exports, Env* state) {
  define_function(env, exports, "create", create, state);
  define_function(env, exports, "createFrom", create_from, state);
  define_function(env, exports, "view", view, state);
  define_function(env, exports, "write", write, state);
  define_function(env, exports, "read", read, state);
  define_function(env, exports, "toDevice", to_device, state);
  define_function(env, exports, "release", release, state);
}

}  // namespace bindings
}  // namespace tersor
