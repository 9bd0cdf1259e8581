// copy, assign, concat2, pad_slice, one_hot: against index arithmetic, on every element width, strided and empty inputs.
#include "ops/strided.h"

#include "test/op_call.h"

namespace tersor {
namespace {

using test::list;
using test::random_int;
using test::view;

// Element of a strided tensor at row-major position i, as raw bytes.
const char* element(const TensorRef& t, int64_t i) {
  int64_t at = 0;
  for (int d = t.rank - 1; d >= 0; d--) {
    at += i % t.shape[d] * t.stride[d];
    i /= t.shape[d];
  }
  return t.as<char>() + at * dtype_bytes(t.dtype);
}

bool equal_elements(const TensorRef& a, const TensorRef& b) {
  for (int64_t i = 0; i < a.size(); i++)
    if (memcmp(element(a, i), element(b, i), static_cast<size_t>(dtype_bytes(a.dtype))) != 0) return false;
  return true;
}

// Memory whose elements all differ (as far as the width allows).
std::vector<unsigned char> pattern(int64_t elements, DType dtype) {
  std::vector<unsigned char> bytes(static_cast<size_t>(elements * dtype_bytes(dtype)));
  for (auto& b : bytes) b = static_cast<unsigned char>(random_int(0, 255));
  return bytes;
}

TensorRef strided(const std::vector<unsigned char>& memory, DType dtype, std::initializer_list<int64_t> shape, std::initializer_list<int64_t> stride) {
  TensorRef t{};
  set_shape(t, dtype, shape.begin(), static_cast<int>(shape.size()));
  int i = 0;
  for (int64_t s : stride) t.stride[i++] = s;
  t.data = const_cast<unsigned char*>(memory.data());
  return t;
}

}  // namespace

TERSOR_TEST(copy_strided_views) {
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i8}) {
    const std::vector<unsigned char> memory = pattern(300000, dtype);
    const TensorRef inputs[] = {
        strided(memory, dtype, {}, {}),
        strided(memory, dtype, {100, 200}, {200, 1}),
        strided(memory, dtype, {100, 200}, {1, 100}),           // transposed
        strided(memory, dtype, {33, 65}, {1, 33}),              // ragged tiles
        strided(memory, dtype, {2, 8, 37, 16}, {4736, 16, 128, 1}),  // heads: [B, H, T, D] of [B, T, H, D]
        strided(memory, dtype, {2, 37, 8, 16}, {4736, 1, 592, 37}),
        strided(memory, dtype, {3, 4, 5}, {1, 15, 3}),
        strided(memory, dtype, {50, 70}, {1000, 3}),            // stepped
        strided(memory, dtype, {5, 6, 7}, {7, 0, 1}),           // broadcast
        strided(memory, dtype, {4, 1, 9}, {9, 77, 1}),          // size one with any stride
        strided(memory, dtype, {0, 5}, {5, 1}),
        strided(memory, dtype, {3, 70000}, {70000, 1}),
        strided(memory, dtype, {70000, 3}, {1, 70000}),
    };
    for (const TensorRef& x : inputs)
      test::for_thread_counts([&] {
        test::OpCall<copy_args> call;
        call.args.x = x;
        CHECK_OK(RUN_OP(call, copy));
        CHECK_MSG(equal_elements(x, call.args.y), "%s", TERSOR_TEXT(x));
      });
  }
}

TERSOR_TEST(assign_writes_views) {
  std::vector<unsigned char> memory = pattern(10000, DType::f32), before = memory, value = pattern(600, DType::f32);
  test::OpCall<assign_args> call;
  call.args.x = strided(memory, DType::f32, {20, 30}, {2, 100});
  call.args.value = strided(value, DType::f32, {20, 30}, {30, 1});
  CHECK_OK(RUN_OP(call, assign));
  CHECK(equal_elements(call.args.x, call.args.value));
  int changed = 0;
  for (size_t i = 0; i < 10000; i++) changed += memcmp(&memory[4 * i], &before[4 * i], 4) != 0;
  CHECK(changed <= 600);
}

TERSOR_TEST(assign_reads_its_value_first) {
  std::vector<int32_t> x(40000), want;
  for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<int32_t>(i);
  want = x;
  for (size_t i = 1; i < x.size(); i++) want[i] = static_cast<int32_t>(i) - 1;
  test::OpCall<assign_args> call;
  call.args.value = view(DType::i32, x, {39999});
  call.args.x = call.args.value;
  call.args.x.data = x.data() + 1;
  CHECK_OK(RUN_OP(call, assign));
  CHECK(x == want);
}

TERSOR_TEST(assign_bad_arguments) {
  std::vector<float> x(24), v(24);
  test::OpCall<assign_args> call;
  call.args.x = view(DType::f32, x, {4, 6});
  call.args.value = view(DType::f32, v, {6, 4});
  CHECK_CODE(RUN_OP(call, assign), Code::shape);
  call.args.value = view(DType::i32, v, {4, 6});
  CHECK_CODE(RUN_OP(call, assign), Code::dtype);
  call.args.value = view(DType::f32, v, {4, 6});
  call.args.x.stride[0] = 0;
  CHECK_CODE(RUN_OP(call, assign), Code::shape);
}

TERSOR_TEST(concat2_joins_along_any_axis) {
  for (DType dtype : {DType::i64, DType::f16, DType::b8}) {
    const std::vector<unsigned char> a = pattern(4000, dtype), b = pattern(4000, dtype);
    for (int64_t axis : {0, 1, 2, -1, -3})
      for (int64_t extra : {0, 1, 5}) {
        test::OpCall<concat2_args> call;
        call.args.a = strided(a, dtype, {3, 4, 5}, {1, 200, 40});
        int64_t shape[3] = {3, 4, 5};
        const int at = static_cast<int>(axis < 0 ? axis + 3 : axis);
        shape[at] = extra;
        set_shape(call.args.b, dtype, shape, 3);
        call.args.b.data = const_cast<unsigned char*>(b.data());
        call.args.axis = axis;
        CHECK_OK(RUN_OP(call, concat2));
        TensorRef first = call.args.y, second = call.args.y;
        CHECK(first.shape[at] == (at == 0 ? 3 : at == 1 ? 4 : 5) + extra);
        first.shape[at] -= extra;
        second.shape[at] = extra;
        second.data = first.as<char>() + first.shape[at] * first.stride[at] * dtype_bytes(dtype);
        CHECK(equal_elements(first, call.args.a) && equal_elements(second, call.args.b));
      }
  }
  const std::vector<float> x(24);
  test::OpCall<concat2_args> bad;
  bad.args.a = view(DType::f32, x, {4, 6});
  bad.args.b = view(DType::f32, x, {6, 4});
  CHECK_CODE(RUN_OP(bad, concat2), Code::shape);
  bad.args.b = view(DType::f32, x, {4, 6});
  bad.args.axis = 2;
  CHECK_CODE(RUN_OP(bad, concat2), Code::shape);
  bad.args.axis = 0;
  bad.args.b = view(DType::f32, x, {24});
  CHECK_CODE(RUN_OP(bad, concat2), Code::shape);
  bad.args.b = view(DType::i32, x, {4, 6});
  CHECK_CODE(RUN_OP(bad, concat2), Code::dtype);
}

TERSOR_TEST(pad_slice_is_the_adjoint_of_slicing) {
  const std::vector<unsigned char> memory = pattern(4000, DType::i16);
  for (int64_t s0 : {0, 2, 4})
    for (int64_t s1 : {0, 1}) {
      test::OpCall<pad_slice_args> call;
      call.args.x = strided(memory, DType::i16, {3, 5}, {1, 70});
      call.args.shape = list({7, 6});
      call.args.start = list({s0, s1});
      CHECK_OK(RUN_OP(call, pad_slice));
      TensorRef inside = call.args.y;
      inside.shape[0] = 3;
      inside.shape[1] = 5;
      inside.data = inside.as<char>() + (s0 * 6 + s1) * 2;
      CHECK(equal_elements(inside, call.args.x));
      int64_t nonzero_inside = 0, nonzero = 0;
      const int16_t zero = 0;
      for (int64_t i = 0; i < inside.size(); i++) nonzero_inside += memcmp(element(inside, i), &zero, 2) != 0;
      for (int64_t i = 0; i < call.args.y.size(); i++) nonzero += memcmp(element(call.args.y, i), &zero, 2) != 0;
      CHECK(nonzero == nonzero_inside);
    }
  test::OpCall<pad_slice_args> bad;
  bad.args.x = strided(memory, DType::i16, {3, 5}, {5, 1});
  bad.args.shape = list({7, 6});
  bad.args.start = list({5, 0});
  CHECK_CODE(RUN_OP(bad, pad_slice), Code::shape);
  bad.args.start = list({-1, 0});
  CHECK_CODE(RUN_OP(bad, pad_slice), Code::shape);
  bad.args.start = list({0});
  CHECK_CODE(RUN_OP(bad, pad_slice), Code::shape);
  bad.args.start = list({INT64_MAX, 0});
  CHECK_CODE(RUN_OP(bad, pad_slice), Code::shape);
  bad.args.start = list({0, 0});
  bad.args.shape = list({2, 6});
  CHECK_CODE(RUN_OP(bad, pad_slice), Code::shape);
  bad.args.shape = list({INT64_MAX, 6});
  CHECK_CODE(RUN_OP(bad, pad_slice), Code::limit);
}

TERSOR_TEST(one_hot_and_its_errors) {
  std::vector<int32_t> labels(3000);
  for (auto& l : labels) l = static_cast<int32_t>(random_int(0, 9));
  test::OpCall<one_hot_args> call;
  call.args.labels = view(DType::i32, labels, {30, 100});
  call.args.classes = 10;
  test::for_thread_counts([&] {
    CHECK_OK(RUN_OP(call, one_hot));
    CHECK(call.args.y.rank == 3 && call.args.y.shape[2] == 10);
    for (int64_t i = 0; i < 30000; i++) CHECK(call.args.y.as<float>()[i] == (labels[static_cast<size_t>(i / 10)] == i % 10 ? 1.0f : 0.0f));
  });
  labels[777] = 10;
  CHECK_CODE(RUN_OP(call, one_hot), Code::shape);
  labels[777] = -1;
  CHECK_CODE(RUN_OP(call, one_hot), Code::shape);
  call.args.classes = 0;
  CHECK_CODE(RUN_OP(call, one_hot), Code::option);
  call.args.classes = INT64_MAX / 2;
  CHECK_CODE(RUN_OP(call, one_hot), Code::limit);
  call.args.labels.dtype = DType::f32;
  CHECK_CODE(RUN_OP(call, one_hot), Code::dtype);
}

}  // namespace tersor
