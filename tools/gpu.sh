#!/usr/bin/env bash
# Everything that needs a GPU, in one command, without Node: builds the CUDA library for the GPU that is there, runs its tests, lets compute-sanitizer look for bad
# accesses and races, and measures: beside cuBLASLt and cuSPARSE where the toolkit has them, beside PyTorch where python3 has it. On 16 cores it ends within TERSOR_GPU_SECONDS (480): every step has a limit, later ones what
# is left. summary.json is written again after every step, native.json and bench.json after every case: what is known stays, whatever hangs later.
#   bash tools/gpu.sh [--emulate] [OUT]     OUT (build-gpu/results): summary.json, native.json, bench.json, four logs. Also: npm run gpu
# --emulate: the same steps on the emulated device, with the C++ compiler, to try this script; times mean nothing, and the core is
#   not optimized (-O0), to be built in time on two cores. TERSOR_GPU_BUILD: another folder than build-gpu.
# The cheapest proof comes first: which device it is and a copy and a sum on it (smoke). Then the wgmma path, alone: where it fails or hangs, everything else runs
# with TERSOR_CUDA_PATHS=mma. Each test has a process of its own, so that one that hangs or loses the device takes no other with it.
# Ends with 0 only when all of it passed; 3: no GPU, or no nvcc or cmake.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
emulate=
[ "${1:-}" = --emulate ] && emulate=1 && shift
build=${TERSOR_GPU_BUILD:-build-gpu}
out=${1:-$build/results}
total=${TERSOR_GPU_SECONDS:-480}
mkdir -p "$out"
out=$(cd "$out" && pwd)

stop() {
  echo "gpu: $1" >&2
  exit 3
}
command -v cmake >/dev/null || stop "cmake is not on the PATH"
if [ -n "$emulate" ]; then
  name=emulated driver='' clock='' top_clock='' memory_clock='' memory='' sm=0 nvcc_release='' suffix=_emulated build_seconds=$((total - 90))
  options=(-DTERSOR_CUDA_EMULATE=ON -DTERSOR_OPTIMIZATION=-O0)
else
  build_seconds=330
  for places in /usr/local/cuda /usr/local/cuda-[0-9]* /opt/cuda /usr/local/nvidia; do
    [ -d "$places/bin" ] && PATH=$PATH:$places/bin
  done
  command -v nvidia-smi >/dev/null || stop "no NVIDIA driver here (nvidia-smi is missing): nothing was run. The emulated device runs everywhere: npm test"
  gpu=$(nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,clocks.max.sm,clocks.mem,memory.total --format=csv,noheader 2>/dev/null | head -n 1)
  [ -n "$gpu" ] || stop "nvidia-smi finds no GPU: nothing was run"
  command -v nvcc >/dev/null || stop "nvcc is neither on the PATH nor in /usr/local/cuda/bin"
  CUDACXX=$(command -v nvcc)
  export CUDACXX
  IFS=, read -r name driver capability clock top_clock memory_clock memory <<<"$gpu"
  sm=$(tr -d ' .' <<<"$capability")
  case $sm in 90 | 100 | 103 | 120) target=${sm}a-real ;; *) target=$sm-real ;; esac
  nvcc_release=$(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
  options=(-DTERSOR_CUDA=ON "-DTERSOR_CUDA_ARCHITECTURES=$target") suffix=
  echo "gpu: $gpu"
fi
rm -f "$out"/{summary.json,native.json,bench.json,build.log,tests.log,bench.log,sanitizers.log}

status=0 loaded_clock='' listed=() failed_tests=() skipped_tests=() passed_tests=0
export PYTHONUNBUFFERED=1
declare -A took result

summary() {
  local separator='' step test
  {
    printf '{ "device": "%s", "driver": "%s", "sm": %s, "clock": "%s", "top_clock": "%s", "clock_under_load": "%s", "memory_clock": "%s", "memory": "%s", "nvcc": "%s", "paths": "%s", "seconds": %s,\n  "steps": {' "$name" "${driver# }" \
      "$sm" "${clock# }" "${top_clock# }" "$loaded_clock" "${memory_clock# }" "${memory# }" "$nvcc_release" "${TERSOR_CUDA_PATHS:-}" "$SECONDS"
    for step in configure build smoke wgmma tests native memcheck racecheck bench; do
      [ -n "${result[$step]:-}" ] || continue
      printf '%s "%s": { "result": "%s", "seconds": %s }' "$separator" "$step" "${result[$step]}" "${took[$step]:-0}"
      separator=,
    done
    printf ' },\n  "tests": { "listed": %s, "passed": %s, "skipped": %s, "failed": [' "${#listed[@]}" "$passed_tests" "${#skipped_tests[@]}"
    separator=''
    for test in "${failed_tests[@]+"${failed_tests[@]}"}"; do
      printf '%s"%s"' "$separator" "$test"
      separator=', '
    done
    echo '] } }'
  } >"$out/summary.part" && mv "$out/summary.part" "$out/summary.json"
}

# step NAME LOG SECONDS COMMAND...: passed, failed, timeout, or late (nothing left of the time: not run). The log grows.
step() {
  local step=$1 log=$out/$2.log limit=$3 begin=$SECONDS code
  shift 3
  local left=$((total - SECONDS))
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    result[$step]=late status=1
    summary
    return 1
  fi
  echo "== $step" | tee -a "$log"
  timeout -k 10 "$limit" "$@" >>"$log" 2>&1
  code=$?
  case $code in 0) result[$step]=passed ;; 124 | 137) result[$step]=timeout status=1 ;; *) result[$step]=failed status=1 ;; esac
  took[$step]=$((SECONDS - begin))
  tail -n 40 "$log"
  echo "== $step: ${result[$step]} ($code), ${took[$step]} s"
  summary
  [ $code -eq 0 ]
}

generator=() keep_going=-k
command -v ninja >/dev/null && generator=(-G Ninja) keep_going='-k 0'
case $build in /*) folder=$build ;; *) folder=$PWD/$build ;; esac
run=$folder/Release/tersor_cuda_test$suffix library=$folder/Release/tersor_cuda$suffix.so

# Every test in a process of its own, six at a time.
tests() {
  local begin=$SECONDS limit=110 left=$((total - SECONDS)) work i n code
  [ "$limit" -le "$left" ] || limit=$left
  work=$(mktemp -d)
  mapfile -t listed < <("$run" --list)
  n=${#listed[@]}
  echo "== tests ($n)"
  # shellcheck disable=SC2016  # the inner shell's own arguments
  [ "$n" -gt 0 ] && [ "$limit" -ge 5 ] &&
    seq 0 $((n - 1)) | timeout -k 10 "$limit" xargs -P 6 -I{} bash -c 'timeout --foreground -k 5 40 "$0" --part "$1/$2" >"$3/$1.log" 2>&1; echo $? >"$3/$1.code"' "$run" {} "$n" "$work"
  for ((i = 0; i < n; i++)); do
    code=$(cat "$work/$i.code" 2>/dev/null || echo late)
    { echo "== ${listed[i]}: $code" && cat "$work/$i.log" 2>/dev/null; } >>"$out/tests.log"
    if [ "$code" != 0 ]; then
      failed_tests+=("${listed[i]}")
      { echo "== ${listed[i]}: $code" && tail -n 6 "$work/$i.log" 2>/dev/null; } | cut -c 1-400
    elif grep -q ' 0 failed, [1-9][0-9]* skipped' "$work/$i.log"; then
      skipped_tests+=("${listed[i]}")
    else
      passed_tests=$((passed_tests + 1))
    fi
  done
  rm -rf "$work"
  result[tests]=passed took[tests]=$((SECONDS - begin))
  [ "$n" -gt 0 ] && [ ${#failed_tests[@]} -eq 0 ] || result[tests]=failed status=1
  echo "== tests: ${result[tests]}, $passed_tests passed, ${#failed_tests[@]} failed, ${#skipped_tests[@]} skipped, ${took[tests]} s"
  summary
}

small=(--filter cuda_softmax --filter batch_norm --filter pooled --filter cuda_pooling --filter gather_and_scatter --filter lstm --filter words --filter copies --filter add_broadcasts --filter reductions_over --filter argmax --filter cumsum --filter bit_sets --filter csr_damage --filter long_vectors --filter selected_rows --filter qgemm_s32 --filter half_of_all --filter wgemm_within --filter cuda_attention)
# The library, then what tests it: where time ends in between, or one file does not compile, the rest is used.
proven=
if step configure build 120 cmake "${generator[@]+"${generator[@]}"}" -S . -B "$build" -DTERSOR_ADDON=OFF -DTERSOR_TESTS=ON "${options[@]}"; then
  # shellcheck disable=SC2016  # the inner shell's own arguments
  step build build "$build_seconds" bash -c 'all=(cmake --build "$0" --parallel "$(nproc)" --target "$1"); [ -z "$4" ] || "${all[@]}" && "${all[@]}" "$2" -- $3' \
    "$build" "tersor_cuda$suffix" "tersor_cuda_test$suffix" "$keep_going" "$emulate"
  if [ ! -f "$library" ]; then
    echo "== no library: everything else is left out"
  elif [ ! -x "$run" ]; then
    echo "== no test runner: tests and sanitizers are left out"
    proven=1
  elif step smoke tests 40 "$run" --filter copies --filter reductions_over; then
    proven=1
    if [ "$sm" = 90 ] && [ -z "${TERSOR_CUDA_PATHS:-}" ]; then
      step wgmma tests 40 "$run" --filter wgmma_serves || export TERSOR_CUDA_PATHS=mma
    fi
    tests
  fi
fi
if [ -n "$proven" ]; then
  # shellcheck disable=SC2016  # the inner shell's own arguments
  step native bench 100 bash -c 'cmake --build "$0" --parallel "$1" --target "$2" && exec "$3/$2" --library "$4" --json "$5" ${6:+"$6"} --seconds 60' \
    "$build" "$(nproc)" "tersor_cuda_bench$suffix" "$folder/Release" "$library" "$out/native.json" "${emulate:+--quick}"
  if [ -z "$emulate" ] && [ -x "$run" ] && command -v compute-sanitizer >/dev/null; then
    step memcheck sanitizers 70 compute-sanitizer --tool memcheck --error-exitcode 9 "$run" "${small[@]}"
    step racecheck sanitizers 70 compute-sanitizer --tool racecheck --error-exitcode 9 "$run" "${small[@]}"
  else
    echo "== compute-sanitizer, or what it would run, is not here: left out"
  fi
  if python3 -c 'import torch' 2>/dev/null; then
    if [ -z "$emulate" ]; then
      # The clock while something runs: a device at rest shows its lowest.
      (sleep 20 && exec nvidia-smi --query-gpu=clocks.sm --format=csv,noheader >"$out/clock.part" 2>/dev/null) >/dev/null 2>&1 &
      step bench bench 240 python3 bench/cuda/bench.py --library "$library" --json "$out/bench.json"
      kill $! 2>/dev/null
      loaded_clock=$(head -n 1 "$out/clock.part" 2>/dev/null)
      rm -f "$out/clock.part"
    else
      step bench bench 240 python3 bench/cuda/bench.py --library "$library" --device cpu --quick --json "$out/bench.json"
    fi
  else
    echo "== python3 has no torch: the bench beside PyTorch is left out"
  fi
fi
summary
cat "$out/summary.json"
exit $status
