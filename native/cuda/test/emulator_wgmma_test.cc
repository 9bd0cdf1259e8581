// The wgmma path in the emulator, which decodes descriptors and swizzles by the PTX ISA: its self check compares it with mma.sync on every kind of element, here with fewer
// multiprocessors than tiles, so that blocks go on from tile to tile.
#include <cstdlib>
#include <memory>

#include "cuda/product_wgmma.h"
#include "test/test.h"

using namespace tersor;
using namespace tersor::cuda;

TERSOR_TEST(cuda_wgmma_agrees_with_mma) {
  Stream* opened = nullptr;
  CHECK_OK(Stream::open(0, &opened));
  const std::unique_ptr<Stream> stream(opened);
  stream->sm = 90, stream->multiprocessors = 3, stream->shared_limit = 227 << 10;
  CHECK_OK(stream->begin("wgmma"));
  setenv("TERSOR_CUDA_PATHS", "mma", 1);
  CHECK(wgmma_cluster(*stream) == 0);
  setenv("TERSOR_CUDA_PATHS", "wgmma", 1);
  const int cluster = wgmma_cluster(*stream);
  CHECK_MSG(cluster == 1, wgmma_state(0, 1));
  unsetenv("TERSOR_CUDA_PATHS");
  stream->end();
}
