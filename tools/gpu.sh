#!/usr/bin/env bash
# Everything that needs a GPU, in one command, without Node: builds the CUDA library for the GPU that is there, runs its tests, lets compute-sanitizer look for bad
# accesses and races, and measures beside PyTorch where python3 has it. Under 8 minutes on 16 cores.
#   bash tools/gpu.sh [OUT]     OUT (build-gpu/results): summary.json, bench.json, logs. Also: npm run gpu
# Ends with 0 only when all of it passed; 3: no GPU, or no nvcc or cmake.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-build-gpu/results}
mkdir -p "$out"

stop() {
  echo "gpu: $1" >&2
  exit 3
}
command -v nvidia-smi >/dev/null || stop "no NVIDIA driver here (nvidia-smi is missing): nothing was run. The emulated device runs everywhere: npm test"
gpu=$(nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,clocks.mem,memory.total --format=csv,noheader 2>/dev/null | head -n 1)
[ -n "$gpu" ] || stop "nvidia-smi finds no GPU: nothing was run"
command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || stop "nvcc is not on the PATH"
command -v cmake >/dev/null || stop "cmake is not on the PATH"
IFS=, read -r name driver capability clock memory_clock memory <<<"$gpu"
sm=$(tr -d ' .' <<<"$capability")
case $sm in 90 | 100 | 103 | 120) target=${sm}a-real ;; *) target=$sm-real ;; esac
echo "gpu: $gpu"

status=0
declare -A took result
step() { # step NAME SECONDS COMMAND...
  local step=$1 limit=$2 begin=$SECONDS
  shift 2
  echo "== $step"
  if timeout "$limit" "$@" >"$out/$step.log" 2>&1; then result[$step]=passed; else result[$step]=failed status=1; fi
  took[$step]=$((SECONDS - begin))
  tail -n 40 "$out/$step.log"
  echo "== $step: ${result[$step]}, ${took[$step]} s"
  [ "${result[$step]}" = passed ]
}

generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
run=build-gpu/Release/tersor_cuda_test
small=(--filter cuda_softmax --filter batch_norm --filter pooled --filter cuda_pooling --filter gather_and_scatter --filter lstm --filter words --filter copies --filter add_broadcasts --filter reductions_over --filter argmax --filter cumsum --filter bit_sets --filter csr_damage --filter long_vectors --filter selected_rows)
if step configure 120 cmake "${generator[@]}" -S . -B build-gpu -DTERSOR_ADDON=OFF -DTERSOR_TESTS=ON -DTERSOR_CUDA=ON "-DTERSOR_CUDA_ARCHITECTURES=$target" &&
  step build 300 cmake --build build-gpu --parallel "$(nproc)" --target tersor_cuda tersor_cuda_test; then
  step tests 120 "$run"
  if command -v compute-sanitizer >/dev/null; then
    step memcheck 100 compute-sanitizer --tool memcheck --error-exitcode 9 "$run" "${small[@]}"
    step racecheck 100 compute-sanitizer --tool racecheck --error-exitcode 9 "$run" "${small[@]}"
  else
    echo "== compute-sanitizer is not on the PATH: skipped"
  fi
  if python3 -c 'import torch' 2>/dev/null; then
    step bench 180 python3 bench/cuda/bench.py --library build-gpu/Release/tersor_cuda.so --json "$out/bench.json"
  else
    echo "== python3 has no torch: bench skipped"
  fi
fi

{
  printf '{ "device": "%s", "driver": "%s", "sm": %s, "clock": "%s", "memory_clock": "%s", "memory": "%s", "nvcc": "%s",\n  "steps": {' "$name" "${driver# }" "$sm" "${clock# }" \
    "${memory_clock# }" "${memory# }" "$(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')"
  separator=
  for step in configure build tests memcheck racecheck bench; do
    [ -n "${result[$step]:-}" ] || continue
    printf '%s "%s": { "result": "%s", "seconds": %s }' "$separator" "$step" "${result[$step]}" "${took[$step]}"
    separator=,
  done
  echo ' } }'
} >"$out/summary.json"
cat "$out/summary.json"
exit $status
