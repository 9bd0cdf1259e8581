// The op table for code that walks it (marshalling, plans): which kind of argument stands where in an op's argument struct, from ops.def. One loop
// reads the arguments of every op, so such code is compiled once and not once per op.
#pragma once
#include <cstddef>

#include "ops/args.h"

namespace tersor {

// One value per row of ops.def, in its order: the index of its entry.
enum class Op : int {
#define T(n)
#define O(n)
#define M(n)
#define R(n)
#define I(n)
#define F(n)
#define B(n)
#define L(n)
#define D(n)
#define E(e, n)
#define OP(name, fields) name,
#include "ops/ops.def"
};

struct Field {
  char kind;  // T O M R I F B L D E as in ops.def; 0 ends the list
  uint16_t offset;
  uint8_t values = 0;  // E: how many the enumeration has
};

struct Entry {
  const char* name;
  const Field* fields;
  size_t bytes;  // of the argument struct
  Status (*infer)(void* args);
  Status (*cpu)(void* args, Context& context);
};

// What an op may have at most; op_table.cc checks ops.def against them.
constexpr int kMaxFields = 21;
constexpr int kMaxInputs = 14;
constexpr int kMaxChanged = 4;
constexpr int kMaxResults = 6;
constexpr int kMaxSlots = 64;  // numbers that the arguments take: 1 each, 9 for a list (its length, then its entries)
constexpr size_t kMaxArgsBytes = 3072;
constexpr size_t kListSlots = 1 + kMaxRank;

const Entry& op_entry(int index);
int op_index(const Entry& entry);
inline Op op_of(const Entry& entry) { return static_cast<Op>(op_index(entry)); }

// Ops whose body makes a result of rank 1 smaller than inferred, by the values of their inputs. A call that does it without standing here fails.
bool is_sized_by_values(Op op);

// The name of the field with this index, for messages.
struct FieldName {
  char text[48];
  FieldName(const Entry& entry, int field);
};

}  // namespace tersor
