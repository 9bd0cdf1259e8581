/**
 * Runs the tests and prints one closing line over all runners: `N passed, N failed, N skipped`.
 *   node tools/test.cjs                        native runner, CUDA kernels on the emulator, then vitest (project unit)
 *   node tools/test.cjs native | unit | packaging [vitest arguments...]      only that one
 *   node tools/test.cjs caps                   native runner (built before) under every TERSOR_ISA cap
 *   node tools/test.cjs asan [--without-kernels]   native runner under ASan + UBSan, in build-asan
 *   node tools/test.cjs fuzz [--seconds 60]    fuzz targets of native decoders under libFuzzer, in build-fuzz
 *   node tools/test.cjs nvcc                   the CUDA library compiles in build-nvcc, and loads
 *   node tools/test.cjs arm [filters...]       native runner cross-built for Arm in build-arm, its kernel tests under qemu
 * The addon is built first where it is missing or stale.
 */
const cp = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { root, quietly, binOf } = require('./lib.cjs')
const { armTools, armRuns } = require('./test-arm.cjs')
const { runFuzz } = require('./test-fuzz.cjs')

const COUNTS = /^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$/gm

/** The counts of a runner that ends with a plain line; a runner that died without one counts as one failure. */
function countsOf(output, status) {
  const last = [...output.matchAll(COUNTS)].at(-1)
  const counts = last ? { passed: +last[1], failed: +last[2], skipped: +(last[3] ?? 0) } : { passed: 0, failed: 0, skipped: 0 }
  if (status !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}

function show({ what, stdout, stderr, signal, status }) {
  process.stdout.write(`${stdout.replace(COUNTS, '').trimEnd()}\n${stderr}`)
  if (signal) console.error(`${what}: died of ${signal}`)
  return countsOf(stdout, status)
}

function runNative() {
  const program = path.join(root, 'build', 'Release', process.platform === 'win32' ? 'tersor_test.exe' : 'tersor_test')
  quietly('native build', process.execPath, ['tools/build-native.cjs', '--builder=cmake', '--tests'])
  const cuda = path.join(root, 'build', 'Release', 'tersor_cuda_test_emulated')
  const emulated = fs.existsSync(cuda) ? [{ what: 'CUDA kernels, emulated', program: cuda, args: [], env: {} }] : []
  return runEach([...halves('native runner', program), ...emulated])
}

/** The tests of a runner in two halves, side by side. */
function halves(what, program, env = {}) {
  return ['0/2', '1/2'].map((part) => ({ what: `${what}, part ${part}`, program, args: ['--part', part], env }))
}

function add(total, counts) {
  for (const key of Object.keys(total)) total[key] += counts[key]
}

/** Whether a program takes the cap; says why not where it does not. */
function capHolds(cap, program, args, env) {
  const asked = cp.spawnSync(program, [...args, '--list'], { encoding: 'utf8', env: { ...process.env, ...env } })
  if (asked.status === 2) console.log(`skip TERSOR_ISA=${cap}: ${asked.stderr.trim()}`)
  return asked.status !== 2
}

/** Runs of one program under different caps, as many at once as there are processors; their output in order. A cap that it does not take is a counted skip. */
async function runEach(runs) {
  const total = { passed: 0, failed: 0, skipped: 0 }
  const taken = runs.filter(({ cap, program, args, env }) => !cap || capHolds(cap, program, args, env))
  total.skipped = runs.length - taken.length
  const results = []
  let next = 0
  const worker = async () => {
    for (let i = next++; i < taken.length; i = next++) results[i] = await runAsync(taken[i])
  }
  await Promise.all(Array.from({ length: os.availableParallelism() }, worker))
  for (const result of results) add(total, show(result))
  return total
}

function runAsync({ what, program, args, env }) {
  return new Promise((resolve) => {
    const done = (error, stdout, stderr) => resolve({ what, status: error ? 1 : 0, signal: error?.signal ?? null, stdout, stderr })
    cp.execFile(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20, env: { ...process.env, ...env } }, done)
  })
}

function runCaps() {
  const table = fs.readFileSync(path.join(root, 'native', 'cpu', 'isa.def'), 'utf8')
  const program = path.join(root, 'build', 'Release', process.platform === 'win32' ? 'tersor_test.exe' : 'tersor_test')
  const caps = [...table.matchAll(/^TERSOR_ISA_LEVEL\((\w+)/gm)].map(([, cap]) => cap)
  return runEach(caps.map((cap) => ({ what: `native runner (TERSOR_ISA=${cap})`, cap, program, args: [], env: { TERSOR_ISA: cap } })))
}

/** Its own build folder; any report ends the runner. ASan's signal stack would make the kernel refuse the AMX permission: off. */
function runAsan(args) {
  const folder = 'build-asan'
  const kernels = args.includes('--without-kernels') ? 'OFF' : 'ON'
  const sanitizers = 'address,undefined,float-cast-overflow'
  const options = ['-DTERSOR_ADDON=OFF', '-DTERSOR_TESTS=ON', `-DTERSOR_SANITIZE=${sanitizers}`, `-DTERSOR_SANITIZE_KERNELS=${kernels}`]
  quietly('cmake', 'cmake', ['-S', '.', '-B', folder, ...options])
  quietly('sanitizer build', 'cmake', ['--build', folder, '--parallel', String(os.availableParallelism()), '--target', 'tersor_test'])
  const env = {
    ASAN_OPTIONS: 'use_sigaltstack=0:detect_stack_use_after_return=0:allocator_may_return_null=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  }
  const program = path.join(root, folder, 'Release', 'tersor_test')
  return runEach(halves('native runner (sanitizers)', program, env))
}

/** The native runner cross-built for Arm, under qemu's user mode: kernel tests with and without dot products, and under each cap. */
function runArm(filters) {
  const tools = armTools()
  if (tools.skip) {
    console.log(`skip arm: ${tools.skip}`)
    return { passed: 0, failed: 0, skipped: 1 }
  }
  quietly('cmake', 'cmake', ['-S', '.', '-B', tools.folder, ...tools.cmake])
  quietly('cross build', 'cmake', ['--build', tools.folder, '--parallel', String(os.availableParallelism()), '--target', 'tersor_test'])
  const runs = armRuns(tools, filters)
  return runEach(
    runs.map(({ what, args, cap }) => ({
      what: `native runner (${what})`,
      cap,
      program: tools.qemu,
      args,
      env: cap ? { TERSOR_ISA: cap } : {},
    })),
  )
}

/** That the CUDA library compiles, links and loads, where there is nvcc: one architecture, hardly optimized. Whether it is right the emulator says, and tools/gpu.sh. */
function runNvcc() {
  if (cp.spawnSync('nvcc', ['--version'], { stdio: 'ignore' }).status !== 0) {
    console.log(
      'skip nvcc: it is not on the PATH, so nobody looked whether the CUDA library compiles (its kernels ran on the emulated device)',
    )
    return { passed: 0, failed: 0, skipped: 1 }
  }
  const options = [
    '-DTERSOR_ADDON=OFF',
    '-DTERSOR_CUDA=ON',
    '-DTERSOR_CUDA_FAST=ON',
    '-DTERSOR_OPTIMIZATION=-O0',
    '-DTERSOR_CUDA_ARCHITECTURES=90a-real',
  ]
  quietly('cmake', 'cmake', ['-S', '.', '-B', 'build-nvcc', ...options])
  quietly('nvcc build', 'cmake', ['--build', 'build-nvcc', '--parallel', String(os.availableParallelism()), '--target', 'tersor_cuda'])
  const addon = path.join(root, 'build', 'Release', 'tersor.node')
  if (!fs.existsSync(addon)) return { passed: 1, failed: 0, skipped: 1 }
  // The library that nvcc made is one for this addon; where there is no driver, it says so.
  const native = require(addon)
  const why = native.deviceLoad('cuda', [path.join(root, 'build-nvcc', 'Release', 'tersor_cuda.so')])
  const devices = why === '' ? native.deviceCount('cuda') : 0
  console.log(why === '' ? `CUDA library: loads; ${devices < 0 ? 'no device' : `devices: ${devices}`}` : `CUDA library: ${why}`)
  return { passed: why === '' ? 2 : 1, failed: why === '' ? 0 : 1, skipped: 0 }
}

function runVitest(project, args) {
  quietly('native build', process.execPath, ['tools/build-native.cjs'])
  const report = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-vitest-')), 'report.json')
  const result = cp.spawnSync(
    process.execPath,
    [
      binOf('vitest'),
      'run',
      '--project',
      project,
      '--passWithNoTests',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...args,
    ],
    { cwd: root, stdio: 'inherit' },
  )
  let json
  try {
    json = JSON.parse(fs.readFileSync(report, 'utf8'))
  } catch {
    return { passed: 0, failed: 1, skipped: 0 } // died before it could report
  } finally {
    fs.rmSync(path.dirname(report), { recursive: true, force: true })
  }
  const brokenFiles = json.testResults.filter((file) => file.status === 'failed' && !file.assertionResults.length).length
  const counts = {
    passed: json.numPassedTests,
    failed: json.numFailedTests + brokenFiles,
    skipped: json.numPendingTests + json.numTodoTests,
  }
  if (result.status !== 0 && counts.failed === 0) counts.failed = 1 // an unhandled rejection, a leaked handle
  return counts
}

const RUNNERS = {
  native: runNative,
  caps: runCaps,
  asan: runAsan,
  arm: runArm,
  fuzz: runFuzz,
  nvcc: runNvcc,
  unit: (args) => runVitest('unit', args),
  packaging: (args) => runVitest('packaging', args),
}

async function main(args) {
  const named = args[0] in RUNNERS
  const names = named ? [args[0]] : args.length ? ['unit'] : ['native', 'unit']
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const name of names) add(total, await RUNNERS[name](named ? args.slice(1) : args))
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
  process.exitCode = total.failed ? 1 : 0
}

module.exports = { countsOf }
if (require.main === module) main(process.argv.slice(2))
