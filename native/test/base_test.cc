#include "base/alloc.h"
#include "base/block_cache.h"
#include "base/checked.h"
#include "base/tensor_ref.h"
#include "cpu/isa.h"
#include "kernels/row.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

TERSOR_TEST(status_codes_and_messages) {
  CHECK(!strcmp(code_name(Code::ok), "OK"));
  CHECK(!strcmp(code_name(Code::shape), "ERR_SHAPE"));
  CHECK(!strcmp(code_name(Code::model_format), "ERR_MODEL_FORMAT"));
  const Status s = fail(Code::limit, "%s: %d", std::string(400, 'x').c_str(), 5);
  CHECK(s.code == Code::limit && strlen(s.message) == sizeof s.message - 1);  // cut, terminated
  CHECK(Status().ok());
}

TERSOR_TEST(allocate_aligns_counts_and_respects_the_budget) {
  const MemoryStats before = memory_stats();
  for (int64_t bytes : {0, 1, 63, 64, 100000}) {
    void* p;
    CHECK_OK(allocate("test", bytes, &p));
    CHECK(p && reinterpret_cast<uintptr_t>(p) % kAlignment == 0);
    memset(p, 1, static_cast<size_t>(bytes) + kSlack);
    CHECK(memory_stats().bytes == before.bytes + bytes && memory_stats().blocks == before.blocks + 1);
    CHECK(memory_stats().peak >= before.bytes + bytes);
    deallocate(p, bytes);
  }
  deallocate(nullptr, 0);
  CHECK(memory_stats().bytes == before.bytes && memory_stats().blocks == before.blocks);
  memory_reset_peak();
  CHECK(memory_stats().peak == before.bytes);
  CHECK_OK(memory_set_budget(before.bytes + 1000));
  void* p = &p;
  const Status s = allocate("some op", 1001, &p);
  CHECK_CODE(s, Code::memory_budget);
  CHECK(p == nullptr && strstr(s.message, "some op") && strstr(s.message, "1001"));
  CHECK_OK(allocate("test", 1000, &p));
  deallocate(p, 1000);
  CHECK_CODE(allocate("test", -1, &p), Code::memory_budget);
  CHECK_CODE(allocate("test", INT64_MAX, &p), Code::memory_budget);
  CHECK_CODE(memory_set_budget(-1), Code::option);
  CHECK_OK(memory_set_budget(0));
  CHECK(memory_stats().budget > 1000000);
  {
    Scratch a;
    for (int64_t bytes : {0, 10, 512, 513, 4000, 20}) {  // a few bytes may lie in the object itself
      CHECK_OK(a.reserve("test", bytes));
      CHECK(a.as<char>() && reinterpret_cast<uintptr_t>(a.as<char>()) % kAlignment == 0);
      memset(a.as<char>(), 0x5A, static_cast<size_t>(bytes) + kSlack);
      CHECK(memory_stats().blocks <= before.blocks + 1 && (bytes < 4000 || memory_stats().blocks == before.blocks + 1));
    }
    CHECK_CODE(a.reserve("test", -1), Code::memory_budget);
  }
  CHECK(memory_stats().blocks == before.blocks);
}

TERSOR_TEST(block_cache_keeps_large_blocks_of_equal_size_up_to_its_limit) {
  static int freed;
  freed = 0;
  const auto release = [](void* p, size_t) { freed++, free(p); };
  BlockCache cache;
  const size_t mega = BlockCache::kLeast;
  void* small = malloc(16);
  CHECK(!cache.put(small, mega - 1, release));
  CHECK(!cache.put(small, BlockCache::kMost, release));
  free(small);
  void* first = malloc(1);
  CHECK(cache.put(first, mega, release));
  CHECK(cache.take(mega + 1) == nullptr);
  CHECK(cache.total() == mega);
  CHECK(cache.take(mega) == first);
  CHECK(cache.total() == 0);
  CHECK(cache.take(mega) == nullptr);
  free(first);
  for (int i = 0; i < 70; i++) CHECK(cache.put(malloc(1), mega, release));  // at most 64 blocks
  CHECK(freed == 6);
  CHECK(cache.put(malloc(1), BlockCache::kMost / 2, release));
  CHECK(cache.total() <= BlockCache::kMost);
  CHECK(cache.put(malloc(1), BlockCache::kMost / 2, release));
  CHECK(cache.total() == BlockCache::kMost);
  CHECK(cache.clear(release) == BlockCache::kMost);
  CHECK(freed == 72);
}

TERSOR_TEST(allocate_takes_kept_blocks_back_before_it_fails) {
  void *a, *b;
  CHECK_OK(allocate("test", int64_t(8) << 20, &a));
  deallocate(a, int64_t(8) << 20);
  CHECK_OK(memory_set_budget(memory_stats().bytes + (int64_t(9) << 20)));
  CHECK_OK(allocate("test", int64_t(9) << 20, &b));
  deallocate(b, int64_t(9) << 20);
  CHECK_OK(memory_set_budget(0));
}

TERSOR_TEST(checked_arithmetic) {
  int64_t v = 0;
  CHECK(!mul_overflows(3, -4, &v) && v == -12);
  CHECK(mul_overflows(INT64_MAX, 2, &v) && mul_overflows(INT64_MIN, -1, &v) && mul_overflows(int64_t(1) << 32, int64_t(1) << 31, &v));
  CHECK(!add_overflows(INT64_MAX, -1, &v) && v == INT64_MAX - 1);
  CHECK(add_overflows(INT64_MAX, 1, &v) && add_overflows(INT64_MIN, -1, &v));
}

TERSOR_TEST(tensor_ref_shapes_and_text) {
  TensorRef t{};
  CHECK(!t.present());
  const int64_t shape[] = {2, 3, 4};
  set_shape(t, DType::f32, shape, 3);
  CHECK(t.size() == 24 && t.bytes() == 96 && t.contiguous() && t.stride[0] == 12 && t.stride[2] == 1 && t.dim(-1) == 4);
  CHECK(!strcmp(TERSOR_TEXT(t), "f32[2,3,4]"));
  t.stride[0] = 0;
  CHECK(!t.contiguous());
  t.shape[0] = 1;
  CHECK(t.contiguous());
  set_shape(t, DType::b8, nullptr, 0);
  CHECK(t.size() == 1 && t.contiguous() && !strcmp(TERSOR_TEXT(t), "bool[]"));
  const int64_t huge[] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
  t.rank = 8;
  for (int i = 0; i < 8; i++) t.shape[i] = huge[i];
  CHECK(strlen(TERSOR_TEXT(t)) < 96);
}

TERSOR_TEST(isa_levels_and_caps) {
  const uint32_t before = isa::allowed();
  CHECK((before & ~isa::detected()) == 0);
  CHECK(isa::level_count() > 1 && !strcmp(isa::level_name(0), "scalar") && isa::level_detected(0) && isa::level_allowed(0));
  CHECK(!strcmp(isa::feature_name(isa::avx512), "avx512") && !strcmp(isa::feature_name(0), "scalar"));
  RowInfo rows[256];
  CHECK(all_rows(rows, 0) <= 256);
  // Under each cap nothing beyond it is usable, no (family, variant) has two chosen rows, and every family has its reference and a chosen row of
  // each variant that the reference has. (A variant that only some levels have, such as a product for one row, is served by another one elsewhere.)
  for (uint32_t cap : {isa::scalar, isa::avx2, isa::avxvnni, isa::avx512, isa::avx512vnni, isa::avx512bf16, isa::amx, isa::neon, isa::neondot, isa::neoni8mm}) {
    isa::set_cap_for_test(cap);
    CHECK((isa::allowed() & ~cap) == 0);
    const int n = all_rows(rows, 256);
    for (int i = 0; i < n; i++) {
      CHECK(rows[i].usable == ((rows[i].needs & ~isa::allowed()) == 0));
      CHECK(!rows[i].chosen || rows[i].usable);
      int chosen = 0, references = 0;
      bool reference = false;
      for (int j = 0; j < n; j++) {
        if (strcmp(rows[i].family, rows[j].family)) continue;
        references += rows[j].needs == isa::scalar;
        if (strcmp(rows[i].variant, rows[j].variant)) continue;
        chosen += rows[j].chosen;
        reference = reference || rows[j].needs == isa::scalar;
      }
      CHECK_MSG(chosen <= 1 && references > 0 && (chosen == 1 || !reference), "%s %s: %d rows chosen", rows[i].family, rows[i].variant, chosen);
    }
  }
  isa::set_cap_for_test(before);
  CHECK(isa::allowed() == before);
}

TERSOR_TEST(isa_cap_of_the_environment_took) {
  if (!*isa::cap_text()) return skip_case("TERSOR_ISA is not set");
  for (int i = 0; i < isa::level_count(); i++)
    if (!strcmp(isa::level_name(i), isa::cap_text())) CHECK(isa::level_allowed(i));
  if (!strcmp(isa::cap_text(), "scalar")) CHECK(isa::allowed() == isa::scalar);
  if (!strcmp(isa::cap_text(), "avx2")) CHECK(isa::allowed() == isa::avx2);
}

}  // namespace
}  // namespace test
}  // namespace tersor
