// The AMX row of qgemm on emulated tiles, for the tests that run over all rows.
#pragma once
#include "kernels/qgemm/qgemm.h"

namespace tersor {
namespace test {

const QgemmRow& qgemm_tiles_row();
void check_qgemm_tiles();  // no instruction so far would have faulted, and the tiles are released

}  // namespace test
}  // namespace tersor
