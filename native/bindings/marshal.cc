#include "bindings/marshal.h"

namespace tersor {
namespace bindings {
namespace {

bool exact_int(double d, int64_t* out) {
  if (!(d >= -9007199254740992.0 && d <= 9007199254740992.0)) return false;
  *out = static_cast<int64_t>(d);
  return static_cast<double>(*out) == d;
}

Status not_an_int(const Entry& entry, int field) {
  return fail(Code::option, "%s: %s must be an integer within +-2^53", entry.name, FieldName(entry, field).text);
}

Status read_list_values(napi_env env, const Entry& entry, int field, napi_value v, double* values) {
  char where[96];
  snprintf(where, sizeof where, "%s: %s", entry.name, FieldName(entry, field).text);
  IntList list;
  TERSOR_TRY(read_int_list(env, v, where, &list));
  values[0] = list.n;
  for (int i = 0; i < list.n; i++) values[1 + i] = static_cast<double>(list.v[i]);
  return {};
}

}  // namespace

Status read_values(napi_env env, const Entry& entry, napi_value* argv, size_t argc, double* values) {
  for (int i = 0; entry.fields[i].kind; i++) {
    const char kind = entry.fields[i].kind;
    const bool given = static_cast<size_t>(i) < argc;
    napi_valuetype type = napi_undefined;
    if (given) napi_typeof(env, argv[i], &type);
    auto wrong = [&](const char* rule) { return fail(Code::option, "%s: %s %s", entry.name, FieldName(entry, i).text, rule); };
    if (kind == 'O' || kind == 'R') {
      if (type == napi_null || type == napi_undefined) {
        *values++ = 0;
        continue;
      }
    } else if (!given) {
      return wrong("is missing");
    }
    switch (kind) {
      case 'T': case 'O': case 'M': case 'R':
        if (!read_number(env, argv[i], values)) return wrong("must be a tensor");
        if (*values == 0) *values = -1;  // no handle either, but not nothing
        values++;
        break;
      case 'L':
        TERSOR_TRY(read_list_values(env, entry, i, argv[i], values));
        values += kListSlots;
        break;
      case 'B': {
        bool b = false;
        if (napi_get_value_bool(env, argv[i], &b) != napi_ok) return wrong("must be true or false");
        *values++ = b;
        break;
      }
      case 'F':
        if (!read_number(env, argv[i], values++)) return wrong("must be a number");
        break;
      default:
        if (!read_number(env, argv[i], values++)) return not_an_int(entry, i);
    }
  }
  return {};
}

Status Call::read(Env* env, const double* values) {
  const Field* const fields = entry.fields;
  for (int i = 0; fields[i].kind; i++) {
    char* const at = args + fields[i].offset;
    const char kind = fields[i].kind;
    int64_t n = 0;
    switch (kind) {
      case 'T': case 'O': case 'M': case 'R': {
        TensorRef* t = reinterpret_cast<TensorRef*>(at);
        const double handle = *values++;
        if (kind == 'R') {
          clear_ref(*t);
          results[result_count] = t;
          given[result_count++] = nullptr;
        }
        if (handle == 0 && (kind == 'O' || kind == 'R')) {
          clear_ref(*t);
          break;
        }
        const TensorRef* found = env->lookup(handle);
        if (!found) return fail(Code::disposed, "%s: %s was disposed or belongs to another thread", entry.name, FieldName(entry, i).text);
        if (kind == 'T' || kind == 'O') {
          copy_ref(*t, *found);
          inputs[input_count++] = t;
          break;
        }
        if (storage_of(*found)->in_use())
          return fail(Code::busy, "%s: %s is in use by an asynchronous call or a session", entry.name, FieldName(entry, i).text);
        if (!found->contiguous())
          return fail(Code::shape, "%s: %s is %s and must be contiguous, got a strided view", entry.name, FieldName(entry, i).text,
                      kind == 'M' ? "changed in place" : "written to");
        if (kind == 'M') {
          copy_ref(*t, *found);
          changed[changed_count++] = t;
        } else {
          given[result_count - 1] = found;
          any_given = true;
        }
        break;
      }
      case 'F': *reinterpret_cast<double*>(at) = *values++; break;
      case 'B': *reinterpret_cast<bool*>(at) = *values++ != 0; break;
      case 'L': {
        IntList* list = reinterpret_cast<IntList*>(at);
        if (!exact_int(values[0], &n) || n < 0 || n > kMaxRank)
          return fail(Code::shape, "%s: %s has too many entries, at most %d are allowed", entry.name, FieldName(entry, i).text, kMaxRank);
        list->n = static_cast<int32_t>(n);
        for (int j = 0; j < list->n; j++)
          if (!exact_int(values[1 + j], &list->v[j]))
            return fail(Code::option, "%s: %s[%d] must be an integer within +-2^53", entry.name, FieldName(entry, i).text, j);
        values += kListSlots;
        break;
      }
      default:  // I, D and E
        if (!exact_int(*values++, &n)) return not_an_int(entry, i);
        if (kind == 'D') {
          if (n < 0 || n >= static_cast<int64_t>(DType::count))
            return fail(Code::dtype, "%s: %s is no element type", entry.name, FieldName(entry, i).text);
          *reinterpret_cast<DType*>(at) = static_cast<DType>(n);
          break;
        }
        if (kind == 'E' && (n < 0 || n >= entry.fields[i].values))
          return fail(Code::option, "%s: %s is out of range", entry.name, FieldName(entry, i).text);
        *reinterpret_cast<int64_t*>(at) = n;
    }
  }
  return {};
}

// All tensors of a call lie on one device. Where it has none, the scope says where its results are made.
Status Call::find_place(const Env* env) {
  place = input_count ? tensor_place(*inputs[0]) : changed_count ? tensor_place(*changed[0]) : env->scope_place_;
  bool known = input_count + changed_count > 0, same = true;
  for (int i = 0; i < input_count; i++) same = same && tensor_place(*inputs[i]) == place;
  for (int i = 0; i < changed_count; i++) same = same && tensor_place(*changed[i]) == place;
  for (int i = 0; i < result_count; i++) {
    if (!given[i]) continue;
    if (!known) place = tensor_place(*given[i]), known = true;
    same = same && tensor_place(*given[i]) == place;
  }
  return same ? Status() : mixed_devices();
}

// Names the first two tensors that lie apart.
Status Call::mixed_devices() const {
  const TensorRef* first = nullptr;
  int first_field = 0, result = 0;
  for (int i = 0; entry.fields[i].kind; i++) {
    const char kind = entry.fields[i].kind;
    const TensorRef* t = nullptr;
    if (kind == 'R') t = given[result++];
    else if (kind == 'T' || kind == 'O' || kind == 'M') t = reinterpret_cast<const TensorRef*>(args + entry.fields[i].offset);
    if (!t || !t->owner) continue;
    if (!first) first = t, first_field = i;
    else if (tensor_place(*t) != tensor_place(*first))
      return fail(Code::device, "%s: %s lies on %s and %s on %s: the tensors of a call must be on one device (move with to(), make constants inside onDevice())", entry.name,
                  FieldName(entry, first_field).text, place_name(tensor_place(*first)), FieldName(entry, i).text, place_name(tensor_place(*t)));
  }
  return fail(Code::device, "%s: its tensors lie on different devices", entry.name);
}

// In-place arguments may equal an input exactly (elementwise work stays right), but a partial overlap would give a silent wrong answer.
Status Call::check_aliasing() const {
  for (int i = 0; i < changed_count; i++) {
    for (int j = 0; j < input_count; j++)
      if (may_overlap(*changed[i], *inputs[j]) && changed[i]->data != inputs[j]->data)
        return fail(Code::option, "%s: an argument changed in place partly overlaps an input", entry.name);
    for (int j = i + 1; j < changed_count; j++)
      if (may_overlap(*changed[i], *changed[j])) return fail(Code::option, "%s: two arguments changed in place overlap", entry.name);
  }
  return {};
}

// Memory given for results must be its own: kernels assume that outputs overlap no input.
Status Call::check_given() const {
  for (int r = 0; r < result_count; r++) {
    if (!given[r]) continue;
    for (int j = 0; j < input_count; j++)
      if (may_overlap(*given[r], *inputs[j])) return fail(Code::option, "%s: the given result overlaps an input", entry.name);
    for (int j = 0; j < changed_count; j++)
      if (may_overlap(*given[r], *changed[j])) return fail(Code::option, "%s: the given result overlaps an argument changed in place", entry.name);
    for (int j = r + 1; j < result_count; j++)
      if (given[j] && may_overlap(*given[r], *given[j])) return fail(Code::option, "%s: two given results overlap", entry.name);
  }
  return {};
}

Status Call::allocate_results() {
  for (; allocated < result_count; allocated++) {
    TensorRef& t = *results[allocated];
    const TensorRef* into = given[allocated];
    if (into) {
      bool same = into->dtype == t.dtype && into->rank == t.rank;
      for (int i = 0; same && i < t.rank; i++) same = into->shape[i] == t.shape[i];
      if (!same) {
        int field = 0, r = 0;
        for (; entry.fields[field].kind != 'R' || r != allocated; field++) r += entry.fields[field].kind == 'R';
        return fail(Code::shape, "%s: the result %s is %s, the given one is %s", entry.name, FieldName(entry, field).text, TERSOR_TEXT(t), TERSOR_TEXT(*into));
      }
      t.data = into->data;
      t.owner = into->owner;
    } else {
      TERSOR_TRY(allocate_tensor(entry.name, t, place));
    }
    mine[allocated] = !into;
    first[allocated] = t.rank ? t.shape[0] : 0;
  }
  return {};
}

Status Call::prepare(Env* env, const double* values, bool async) {
  TERSOR_TRY(read(env, values));
  if (!env->streams_.empty()) TERSOR_TRY(find_place(env));
  if (async && changed_count) return fail(Code::unsupported, "%s changes its argument in place and cannot run asynchronously", entry.name);
  if (changed_count) TERSOR_TRY(check_aliasing());
  if (any_given) {
    if (async) return fail(Code::unsupported, "%s: an asynchronous call cannot write into given results", entry.name);
    TERSOR_TRY(check_given());
  }
  TERSOR_TRY(entry.infer(args));
  Status s = allocate_results();
  if (!s.ok()) undo();
  return s;
}

Status Call::check_sizes() const {
  for (int i = 0; i < result_count; i++)
    if (!mine[i] && results[i]->rank && results[i]->shape[0] != first[i])
      return fail(Code::unsupported, "%s: the size of result %d depends on the data (%lld here), so it cannot be given", entry.name, i,
                  static_cast<long long>(results[i]->shape[0]));
  return {};
}

bool Call::shrunk() const {
  for (int i = 0; i < result_count; i++)
    if (results[i]->rank && results[i]->shape[0] != first[i]) return true;
  return false;
}

void Call::undo() {
  for (int i = 0; i < allocated; i++)
    if (mine[i]) storage_of(*results[i])->release();
  allocated = 0;
}

}  // namespace bindings
}  // namespace tersor
