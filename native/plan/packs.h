// Weights in the layouts that kernels read, made once and shared by the plans of an environment: classes of inputs differ, weights do not.
#pragma once
#include <string>
#include <unordered_map>

#include "plan/program.h"

namespace tersor {

class Packs {
 public:
  Packs() = default;
  ~Packs();
  Packs(const Packs&) = delete;
  Packs& operator=(const Packs&) = delete;

  // The packed weight made by `op` (gemm_pack, qgemm_pack) of the rows of these matrices [N, K], one below the other. A new reference.
  Status get(Op op, const TensorRef* parts, int count, Storage** packed);
  // Blobs of qgemm_pack for weights [out[i], k] as one, the weights one below the other; out[i] is a multiple of the layout's columns. A new reference.
  Status join(const TensorRef* blobs, const int64_t* out, int count, int64_t k, Storage** joined);
  // Filters w [O,C/groups,kh,kw], each times its scale [O] (or null), as conv2d_last reads them. A new reference.
  Status filters(const TensorRef& w, const float* scale, int64_t groups, Storage** packed);
  // Filters w [O,C,3,3], each times its scale [O] (or null), as conv2d_winograd reads them. A new reference.
  Status winograd(const TensorRef& w, const float* scale, int64_t tile, Storage** packed);
  // Forgets what no plan uses any more.
  void sweep();

 private:
  struct Entry {
    std::vector<Storage*> sources;  // held, so that an address in a key means one storage
    Storage* packed;
  };
  template <class Args> Status pack_filters(Op op, Args& args, const float* scale, int64_t form, Storage** packed);
  static void drop(Entry& entry);
  static std::string key_of(int what, const TensorRef* parts, int count);
  bool find(const std::string& key, Storage** packed);
  void keep(std::string&& key, const TensorRef* parts, int count, Storage* packed);
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace tersor
