/**
 * How the native runner is cross-built for Arm and which of its tests run under qemu's user mode (about twenty times slower than hardware).
 * Other names of the two programs: TERSOR_ARM_CXX, TERSOR_ARM_QEMU.
 */
const cp = require('node:child_process')
const path = require('node:path')
const { root } = require('./lib.cjs')

/** Tests of the kernel rows and of what stands on them; the ops above run the same C++ on every processor and are left to `npm test`. */
const FILTERS = [
  '_rows',
  'gemm_strips',
  'gemm_dot',
  'gemm_packs',
  'gemm_propagates',
  'gemm_scales',
  'qgemm_s32_is',
  'wgemm_op_equals',
  'isa_',
  'math_special',
  'math_gelu',
  'linear_adds',
  'qlinear_equals',
  'qconv_matches',
  'qconv_sums',
  'spmm',
  'mask_ops',
  'philox',
  'rows_',
  'cast_rows',
  'cast_narrowing',
]
/** Where the choice of the row shows above the kernels: integer products. The rows themselves run once, all that the processor has. */
const CAP_FILTERS = ['isa_', 'qlinear_equals', 'qconv_sums', 'qconv_with']
const CAPS = ['neon', 'neondot', 'neoni8mm']

const starts = (command) => cp.spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0

/** The programs and the arguments of cmake, or `skip`: what is missing, and which package brings it. */
function armTools() {
  if (process.arch === 'arm64') return { skip: 'this machine is Arm: the runners `native` and `caps` cover it without emulation' }
  const compiler = process.env.TERSOR_ARM_CXX || 'aarch64-linux-gnu-g++'
  const emulators = process.env.TERSOR_ARM_QEMU ? [process.env.TERSOR_ARM_QEMU] : ['qemu-aarch64-static', 'qemu-aarch64']
  const qemu = emulators.find(starts)
  const missing = [
    ...(starts(compiler) ? [] : [`${compiler} (Debian package g++-aarch64-linux-gnu)`]),
    ...(qemu ? [] : [`${emulators[0]} (Debian package qemu-user-static)`]),
    ...(starts('cmake') ? [] : ['cmake (Debian package cmake)']),
  ]
  if (missing.length) return { skip: `not found: ${missing.join(', ')}` }
  const folder = 'build-arm'
  const cmake = ['-DTERSOR_ADDON=OFF', '-DTERSOR_TESTS=ON', '-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64']
  // Linked statically: qemu then needs no library folder of the other architecture.
  return { folder, qemu, cmake: [...cmake, `-DCMAKE_CXX_COMPILER=${compiler}`, '-DCMAKE_EXE_LINKER_FLAGS=-static'] }
}

/** The runs: every row on a processor that has all of them, what is chosen on one without dot products, and under each cap. */
function armRuns({ folder, qemu }, filters) {
  const program = path.join(root, folder, 'Release', 'tersor_test')
  const args = (cpu, list) => ['-cpu', cpu, program, ...(filters.length ? filters : list).flatMap((text) => ['--filter', text])]
  return [
    { what: `${path.basename(qemu)}, cpu max`, args: args('max', FILTERS) },
    { what: `${path.basename(qemu)}, cpu cortex-a72`, args: args('cortex-a72', ['qgemm_rows', 'wgemm_rows', ...CAP_FILTERS]) },
    ...CAPS.map((cap) => ({ what: `${path.basename(qemu)}, TERSOR_ISA=${cap}`, args: args('max', CAP_FILTERS), cap })),
  ]
}

module.exports = { armTools, armRuns }
