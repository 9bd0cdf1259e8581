// oneDNN: matmul with prepacked weights (format any + reorder): f32, bf16, u8s8, s8s8. Capped by ONEDNN_MAX_CPU_ISA.
// BUILD: -ldnnl -fopenmp     DEBIAN: libdnnl-dev
#include <dnnl.hpp>
#include <omp.h>

#include <unordered_map>

#include "contender.h"

using namespace dnnl;
using bench::Case;
using bench::Prepared;
using dt = memory::data_type;
using tag = memory::format_tag;

static engine& cpu() {
  static engine e(engine::kind::cpu, 0);
  return e;
}

// C [m, n] = A [m, k] B [k, n]; every copy packs B anew.
static Prepared gemm(const Case& c, dt at, dt bt, dt ct, std::shared_ptr<void> a, std::shared_ptr<void> b, dt b_source, void* ap, void* bp) {
  const int m = c.size("m"), k = c.size("k"), n = c.size("n"), threads = c.threads;
  omp_set_num_threads(threads);
  auto st = std::make_shared<stream>(cpu());
  const memory::desc amd({m, k}, at, tag::ab), bmd({k, n}, bt, tag::any), cmd({m, n}, ct, tag::ab), plain({k, n}, b_source, tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const matmul::primitive_desc pd(cpu(), amd, bmd, cmd);
#else
  const matmul::primitive_desc pd(matmul::desc(amd, bmd, cmd), cpu());
#endif
  const auto primitive = std::make_shared<matmul>(pd);
  const auto out = bench::buffer<float>(static_cast<size_t>(m) * n);
  // A bf16 A is converted once: both libraries get their own type as input.
  memory ma(amd, cpu());
  if (at == dt::bf16) {
    memory source(memory::desc({m, k}, dt::f32, tag::ab), cpu(), ap);
    reorder(source, ma).execute(*st, source, ma);
  } else {
    ma.set_data_handle(ap);
  }
  memory source_b(plain, cpu(), bp), mc(cmd, cpu(), out->data);
  st->wait();
  Prepared p;
  bench::add_copies(p, c.copies(), [&](int) -> std::function<void()> {
    memory mb(pd.weights_desc(), cpu());
    reorder(source_b, mb).execute(*st, source_b, mb);
    st->wait();
    std::unordered_map<int, memory> args{{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}};
    return [=] {
      omp_set_num_threads(threads);
      primitive->execute(*st, args);
      st->wait();
    };
  });
  p.calls[0]();
  const size_t size = static_cast<size_t>(m) * n;
  p.check = ct == dt::s32 ? bench::sum_abs(reinterpret_cast<int32_t*>(out->data), size) : bench::sum_abs(out->data, size);
  // The buffers live as long as the calls.
  for (auto& call : p.calls) call = [call, a, b, out] { call(); };
  return p;
}

static Prepared prepare(const Case& c) {
  const size_t mk = static_cast<size_t>(c.size("m")) * c.size("k"), kn = static_cast<size_t>(c.size("k")) * c.size("n");
  if (c.kernel == "gemm.f32" || c.kernel == "gemm.bf16") {
    const auto a = bench::floats(mk, 11), b = bench::floats(kn, 22);
    const dt type = c.kernel == "gemm.bf16" ? dt::bf16 : dt::f32;
    return gemm(c, type, type, dt::f32, a, b, dt::f32, a->data, b->data);
  }
  if (c.kernel == "gemm.u8s8") {
    const auto a = bench::bytes(mk, 11);
    const auto b = bench::signed_bytes(kn, 22);
    return gemm(c, dt::u8, dt::s8, dt::s32, a, b, dt::s8, a->data, b->data);
  }
  if (c.kernel == "gemm.s8s8") {
    const auto a = bench::signed_bytes(mk, 11), b = bench::signed_bytes(kn, 22);
    return gemm(c, dt::s8, dt::s8, dt::s32, a, b, dt::s8, a->data, b->data);
  }
  throw bench::Unsupported("no " + c.kernel + " in this driver of oneDNN");
}

int main(int argc, char** argv) {
  const auto* v = dnnl_version();
  const char* names[] = {"sse41", "avx", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx", "avxvnni"};
  const cpu_isa all[] = {cpu_isa::sse41, cpu_isa::avx, cpu_isa::avx2, cpu_isa::avx512_core, cpu_isa::avx512_core_vnni, cpu_isa::avx512_core_bf16, cpu_isa::avx512_core_amx, cpu_isa::avx2_vnni};
  std::string isa = "default";
  for (int i = 0; i < 8; i++)
    if (get_effective_cpu_isa() == all[i]) isa = names[i];
  return bench::run_contender(argc, argv, {"onednn", std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch), isa}, prepare);
}
