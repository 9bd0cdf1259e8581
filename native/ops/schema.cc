#include "ops/schema.h"

#include <cstring>

namespace tersor {
namespace {

struct Row {
  const char* name;
  const char* fields;  // ",T:x,R:y"
};

#define T(n) ",T:" #n
#define O(n) ",O:" #n
#define M(n) ",M:" #n
#define R(n) ",R:" #n
#define I(n) ",I:" #n
#define F(n) ",F:" #n
#define B(n) ",B:" #n
#define L(n) ",L:" #n
#define D(n) ",D:" #n
#define E(e, n) ",E:" #e ":" #n
#define OP(name, fields) {#name, fields},
const Row kRows[] = {
#include "ops/ops.def"
};

constexpr int kCount = static_cast<int>(sizeof kRows / sizeof *kRows);

struct Texts {
  char text[kCount][256];
  uint64_t hash = 1469598103934665603ull;
  Texts() {
    for (int i = 0; i < kCount; i++) {
      char* out = text[i];
      size_t at = 0;
      for (const char* p = kRows[i].name; *p; p++) out[at++] = *p;
      out[at++] = '(';
      for (const char* p = kRows[i].fields + 1; *p && at < 254; p++) out[at++] = *p;
      out[at++] = ')';
      out[at] = 0;
      for (const char* p = out; *p; p++) mix(*p);
      mix('\n');
    }
  }
  void mix(char c) { hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull; }
};

const Texts& texts() {
  static const Texts* t = new Texts();
  return *t;
}

}  // namespace

int op_count() { return kCount; }
const char* op_name(int i) { return kRows[i].name; }
const char* op_schema(int i) { return texts().text[i]; }
uint64_t schema_hash() { return texts().hash; }

}  // namespace tersor
