#include "kernels/gather/gather.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

TERSOR_TEST(gather_rows_equal_the_reference) {
  const GatherRow* rows;
  const int n = gather_table(&rows);
  for (int r = 0; r < n; r++) {
    if ((rows[r].needs & ~isa::detected()) != 0) continue;
    const bool sum = !strcmp(rows[r].variant, "sum_f32");
    for (int64_t bytes : {0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 60, 64, 68, 127, 128, 132, 256, 260, 516, 1028}) {
      if (sum && bytes % 4) continue;
      for (int64_t count : {0, 1, 2, 7, 8, 9, 15, 16, 17, 33})
        for (int64_t gap : {0, 4}) {
          const int64_t table_rows = 13, stride = bytes + gap;
          for (auto side : {GuardedBuffer::Side::end, GuardedBuffer::Side::begin}) {
            const size_t table_bytes = static_cast<size_t>((table_rows - 1) * stride + bytes), out_bytes = static_cast<size_t>(sum ? bytes : count * bytes);
            GuardedBuffer table(table_bytes, side), out(out_bytes, side), index(static_cast<size_t>(count) * 4, side);
            for (size_t i = 0; i < table_bytes; i++) table.as<uint8_t>()[i] = static_cast<uint8_t>(rng()());
            if (sum)
              for (size_t i = 0; i + 4 <= table_bytes; i += 4) *reinterpret_cast<float*>(table.as<char>() + i) = random_float(-1, 1);
            for (int64_t i = 0; i < count; i++) index.as<int32_t>()[i] = static_cast<int32_t>(random_int(0, table_rows - 1));
            const GatherArgs args = {table.as<void>(), stride, bytes, index.as<int32_t>(), count, out.as<void>()};
            rows[r].kernel(args);
            std::vector<uint8_t> want(out_bytes + 1);
            GatherArgs reference = args;
            reference.out = want.data();
            if (sum) gather_sum_f32_scalar(reference);
            else gather_copy_scalar(reference);
            CHECK_MSG(!memcmp(out.as<void>(), want.data(), out_bytes), "%s: %lld rows of %lld bytes", rows[r].function, static_cast<long long>(count),
                      static_cast<long long>(bytes));
          }
        }
    }
  }
}

TERSOR_TEST(gather_op) {
  std::vector<float> table = {0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32};
  std::vector<int32_t> index = {2, 0, 3, 2};
  OpCall<gather_args> c;
  c.args.table = view(DType::f32, table, {4, 3});
  c.args.index = view(DType::i32, index, {2, 2});
  CHECK_OK(RUN_OP(c, gather));
  CHECK(c.args.y.rank == 3 && c.args.y.shape[0] == 2 && c.args.y.shape[1] == 2 && c.args.y.shape[2] == 3);
  const float want[12] = {20, 21, 22, 0, 1, 2, 30, 31, 32, 20, 21, 22};
  CHECK(!memcmp(c.args.y.data, want, sizeof want));
  // A column view: rows that are not dense. A slice of rows: dense rows at a distance.
  c.args.table.shape[0] = 3, c.args.table.shape[1] = 4, c.args.table.stride[0] = 1, c.args.table.stride[1] = 3;
  index = {1, 1, 0, 2};
  CHECK_OK(RUN_OP(c, gather));
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) CHECK(c.args.y.as<float>()[i * 4 + j] == table[static_cast<size_t>(j * 3 + index[static_cast<size_t>(i)])]);
  set_shape(c.args.table, DType::f32, std::vector<int64_t>{2, 3}.data(), 2);
  c.args.table.stride[0] = 6;
  index = {1, 0, 1, 1};
  CHECK_OK(RUN_OP(c, gather));
  CHECK(c.args.y.as<float>()[0] == 20 && c.args.y.as<float>()[3] == 0);
  index = {1, 0, 2, 1};
  const Status s = RUN_OP(c, gather);
  CHECK_CODE(s, Code::shape);
  CHECK(strstr(s.message, "got 2") && strstr(s.message, "position 2"));
  index = {1, 0, 0, -1};
  CHECK_CODE(RUN_OP(c, gather), Code::shape);
  c.args.index.dtype = DType::f32;
  CHECK_CODE(RUN_OP(c, gather), Code::dtype);
  // Empty index, empty table without a look at it, other element types.
  std::vector<int32_t> none;
  c.args.index = view(DType::i32, none, {0, 5});
  CHECK_OK(RUN_OP(c, gather));
  CHECK(c.args.y.size() == 0 && c.args.y.rank == 3);
  std::vector<int8_t> bytes = {1, 2, 3, 4, 5, 6};
  index = {2, 1};
  c.args.index = view(DType::i32, index, {2});
  c.args.table = view(DType::i8, bytes, {3, 2});
  CHECK_OK(RUN_OP(c, gather));
  CHECK(c.args.y.as<int8_t>()[0] == 5 && c.args.y.as<int8_t>()[3] == 4);
  c.args.table = view(DType::i8, bytes, {3, 1, 1, 1, 1, 1, 1, 2});
  c.args.index = view(DType::i32, index, {1, 2});
  CHECK_CODE(RUN_OP(c, gather), Code::shape);
}

template <class T> void scatter_add_cases() {
  for (int64_t d : {0, 1, 3, 16, 70})
    for (int64_t count : {0, 1, 5, 1000}) {
      const int64_t rows = 37;
      std::vector<T> dy(static_cast<size_t>(count * d));
      std::vector<int32_t> index(static_cast<size_t>(count));
      for (auto& v : dy) v = static_cast<T>(random_float(-1, 1));
      for (auto& v : index) v = static_cast<int32_t>(random_int(0, rows - 1) * random_int(0, 1));
      std::vector<T> want(static_cast<size_t>(rows * d));
      for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < d; j++) want[static_cast<size_t>(index[static_cast<size_t>(i)] * d + j)] += dy[static_cast<size_t>(i * d + j)];
      for_thread_counts([&] {
        OpCall<scatter_add_args> c;
        c.args.dy = view(dtype_of<T>::value, dy, {count, d});
        c.args.index = view(DType::i32, index, {count});
        c.args.rows = rows;
        CHECK_OK(RUN_OP(c, scatter_add));
        CHECK(c.args.dtable.shape[0] == rows && c.args.dtable.shape[1] == d);
        for (size_t i = 0; i < want.size(); i++) CHECK(c.args.dtable.template as<T>()[i] == want[i]);
      });
    }
}

TERSOR_TEST(scatter_add_adds_in_index_order_for_any_thread_count) {
  scatter_add_cases<float>();
  scatter_add_cases<double>();
  std::vector<float> dy = {1, 2};
  std::vector<int32_t> index = {0, 4};
  OpCall<scatter_add_args> c;
  c.args.dy = view(DType::f32, dy, {2, 1});
  c.args.index = view(DType::i32, index, {2});
  c.args.rows = 4;
  CHECK_CODE(RUN_OP(c, scatter_add), Code::shape);
  c.args.rows = -1;
  CHECK_CODE(RUN_OP(c, scatter_add), Code::shape);
  c.args.rows = 5;
  CHECK_OK(RUN_OP(c, scatter_add));
  c.args.dy = view(DType::f32, dy, {1, 2});
  CHECK_CODE(RUN_OP(c, scatter_add), Code::shape);
  c.args.dy = view(DType::i32, index, {2, 1});
  CHECK_CODE(RUN_OP(c, scatter_add), Code::dtype);
}

}  // namespace
}  // namespace test
}  // namespace tersor
