// The op table as the bindings walk it: which kind of argument stands where in an op's argument struct, from ops.def. One loop reads the
// arguments of every op, so the marshalling is compiled once and not once per op.
#pragma once
#include <cstddef>

#include "ops/args.h"

namespace tersor {
namespace bindings {

struct Field {
  char kind;  // T O M R I F B L D E as in ops.def; 0 ends the list
  uint16_t offset;
};

struct Entry {
  const char* name;
  const Field* fields;
  size_t bytes;  // of the argument struct
  Status (*infer)(void* args);
  Status (*cpu)(void* args, Context& context);
};

// What an op may have at most; op_table.cc checks ops.def against them.
constexpr int kMaxFields = 20;
constexpr int kMaxInputs = 12;
constexpr int kMaxChanged = 4;
constexpr int kMaxResults = 6;
constexpr int kMaxSlots = 64;  // numbers that the arguments take: 1 each, 9 for a list (its length, then its entries)
constexpr size_t kMaxArgsBytes = 3072;
constexpr size_t kListSlots = 1 + kMaxRank;

const Entry& op_entry(int index);

// The name of the field with this index, for messages.
struct FieldName {
  char text[48];
  FieldName(const Entry& entry, int field);
};

}  // namespace bindings
}  // namespace tersor
