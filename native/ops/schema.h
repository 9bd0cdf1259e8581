// What the two languages agree on: one text per op and a hash over all of them. tools/gen-lib.ts prints the same strings.
#pragma once
#include <cstdint>

namespace tersor {

int op_count();
const char* op_name(int index);
const char* op_schema(int index);  // "softmax(T:x,R:y)"
uint64_t schema_hash();            // FNV-1a over all schema lines

}  // namespace tersor
