/**
 * The fuzz targets of native decoders under libFuzzer with ASan and UBSan, built in build-fuzz by clang (another name: TERSOR_FUZZ_CXX). A crash, a hang
 * of 5 s and more than 1 GiB of memory fail; the input that did it lies in fuzz-failures.
 */
const cp = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { root, quietly } = require('./lib.cjs')

const folder = 'build-fuzz'

/** clang++ with the library of libFuzzer beside it, the newest first; undefined: there is none. */
function compiler() {
  const names = process.env.TERSOR_FUZZ_CXX
    ? [process.env.TERSOR_FUZZ_CXX]
    : ['clang++', ...[22, 21, 20, 19, 18, 17, 16, 15, 14].map((n) => `clang++-${n}`)]
  return names.find((name) => {
    const asked = cp.spawnSync(name, ['--print-resource-dir'], { encoding: 'utf8' })
    const runtime = asked.status === 0 ? path.join(asked.stdout.trim(), 'lib') : ''
    return runtime !== '' && fs.existsSync(runtime) && fs.readdirSync(runtime, { recursive: true }).some((f) => /fuzzer/.test(String(f)))
  })
}

/** `--seconds` (10) for each target. The counts of a runner. */
async function runFuzz(args) {
  const clang = compiler()
  if (!clang) {
    console.log('skip fuzz: clang with libFuzzer (Debian packages clang and libclang-rt-14-dev) is not there')
    return { passed: 0, failed: 0, skipped: 1 }
  }
  const seconds = args.includes('--seconds') ? Number(args[args.indexOf('--seconds') + 1]) : 10
  const options = ['-DTERSOR_ADDON=OFF', '-DTERSOR_FUZZ=ON', `-DCMAKE_CXX_COMPILER=${clang}`]
  quietly('cmake', 'cmake', ['-S', '.', '-B', folder, ...options])
  quietly('fuzz build', 'cmake', ['--build', folder, '--parallel', String(os.availableParallelism())])
  const built = path.join(root, folder, 'Release')
  const targets = fs.readdirSync(built).filter((f) => /^fuzz_\w+$/.test(f))
  const failures = path.join(root, 'fuzz-failures')
  const counts = { passed: 0, failed: 0, skipped: 0 }
  for (const target of targets) {
    const corpus = path.join(root, folder, 'corpus', target)
    fs.mkdirSync(corpus, { recursive: true })
    fs.mkdirSync(failures, { recursive: true })
    const limits = ['-max_len=4096', '-timeout=5', '-rss_limit_mb=1024', '-print_final_stats=1', `-max_total_time=${seconds}`]
    const done = cp.spawnSync(path.join(built, target), [corpus, ...limits, `-artifact_prefix=${failures}/${target}-`], {
      encoding: 'utf8',
    })
    counts[done.status === 0 ? 'passed' : 'failed']++
    const inputs = /number_of_executed_units:\s*(\d+)/.exec(done.stderr)?.[1] ?? '?'
    console.log(`${target}: ${inputs} inputs in ${seconds} s, ${done.status === 0 ? 'none failed' : 'FAILED'}`)
    if (done.status !== 0) console.log(done.stderr.slice(-4000))
  }
  if (fs.existsSync(failures) && fs.readdirSync(failures).length === 0) fs.rmdirSync(failures)
  return counts
}

module.exports = { runFuzz }
