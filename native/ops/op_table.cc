#include "ops/op_table.h"

#include <cstring>

#include "ops/schema.h"

namespace tersor {
namespace {

#define TERSOR_ENUM(name, ...)           \
  struct name##_values {                 \
    enum { __VA_ARGS__, number_of_them }; \
  };
#include "ops/enums.def"
#undef TERSOR_ENUM

#define T(n) {'T', offsetof(Args, n)},
#define O(n) {'O', offsetof(Args, n)},
#define M(n) {'M', offsetof(Args, n)},
#define R(n) {'R', offsetof(Args, n)},
#define I(n) {'I', offsetof(Args, n)},
#define F(n) {'F', offsetof(Args, n)},
#define B(n) {'B', offsetof(Args, n)},
#define L(n) {'L', offsetof(Args, n)},
#define D(n) {'D', offsetof(Args, n)},
#define E(e, n) {'E', offsetof(Args, n), e##_values::number_of_them},
#define OP(name, list)                                      \
  struct name##_fields {                                    \
    using Args = name##_args;                               \
    static constexpr Field fields[] = {list{0, 0}};         \
  };
#include "ops/ops.def"

constexpr int count(const Field* f, char a, char b) {
  int n = 0;
  for (; f->kind; f++) n += f->kind == a || f->kind == b;
  return n;
}
constexpr size_t slots(const Field* f) {
  size_t n = 0;
  for (; f->kind; f++) n += f->kind == 'L' ? kListSlots : 1;
  return n;
}
constexpr int length(const Field* f) {
  int n = 0;
  for (; f->kind; f++) n++;
  return n;
}
template <class Args> constexpr bool fits(const Field* f) {
  return sizeof(Args) <= kMaxArgsBytes && slots(f) <= kMaxSlots && length(f) <= kMaxFields && count(f, 'T', 'O') <= kMaxInputs && count(f, 'M', 'M') <= kMaxChanged &&
         count(f, 'R', 'R') <= kMaxResults;
}

template <class Args, Status (*f)(Args&)> Status infer(void* args) { return f(*static_cast<Args*>(args)); }
template <class Args, Status (*f)(Args&, Context&)> Status cpu(void* args, Context& context) { return f(*static_cast<Args*>(args), context); }

#define OP(name, list) static_assert(fits<name##_args>(name##_fields::fields), #name " is larger than the table allows");
#include "ops/ops.def"

const Entry kEntries[] = {
#define OP(name, list) {#name, name##_fields::fields, sizeof(name##_args), &infer<name##_args, &name##_infer>, &cpu<name##_args, &name##_cpu>},
#include "ops/ops.def"
};

}  // namespace

const Entry& op_entry(int index) { return kEntries[index]; }
int op_index(const Entry& entry) { return static_cast<int>(&entry - kEntries); }

bool is_sized_by_values(Op op) {
  switch (op) {
    case Op::mask_indices:
    case Op::csr_from_dense:
    case Op::csr_group:
    case Op::bsr_from_dense:
    case Op::bitmask_from_dense:
    case Op::sparse_encode: return true;
    default: return false;
  }
}

FieldName::FieldName(const Entry& entry, int field) {
  const char* at = strchr(op_schema(op_index(entry)), '(');  // "clip(T:x,F:lo,F:hi,R:y)", "f(E:activation:act)"
  for (int i = 0; i < field; i++) at = strchr(at + 1, ',');
  const char* end = at + 1;
  while (*end != ',' && *end != ')') end++;
  const char* begin = end;
  while (begin[-1] != ':') begin--;
  snprintf(text, sizeof text, "%.*s", static_cast<int>(end - begin), begin);
}

}  // namespace tersor
