#include "kernels/row.h"

namespace tersor {

#define TERSOR_FAMILY(name) int name##_rows(RowInfo* out, int capacity);
#include "kernels/families.inc"
#undef TERSOR_FAMILY

int all_rows(RowInfo* out, int capacity) {
  int n = 0;
#define TERSOR_FAMILY(name) n += name##_rows(out + (n < capacity ? n : capacity), n < capacity ? capacity - n : 0);
#include "kernels/families.inc"
#undef TERSOR_FAMILY
  return n;
}

}  // namespace tersor
