/**
 * No instruction may reach a processor that lacks it. Reads the object files of the addon with nm and objdump (x64, and Arm natively or cross-built):
 *   1. a function uses only the registers and instructions of the ISA that its name or else its file carries (none: SSE2, NEON only)
 *   2. an ISA file (kernels/<family>/<isa>.cc) defines no weak symbol: the linker may take that copy for everybody
 *   3. an ISA file defines no external symbol without an ISA in its name, and no initialiser that runs at load
 *      node --import tsx tools/check-isa-leaks.ts [FOLDER]      default: build, and build-arm where it exists
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { filesBelow, root, runAsCheck } from './problems.js'

type Isa = 'scalar' | 'avx2' | 'avxvnni' | 'avx512' | 'avx512vnni' | 'avx512bf16' | 'amx' | 'neon' | 'neondot' | 'neoni8mm'
type Excess = (text: string) => string | undefined
const VEX_ONLY = /%[xyz]mm(1[6-9]|2\d|3[01])\b|%zmm|%k[0-7]\b|\{%k/
const VNNI = /^(\{vex\} )?vpdp/
const BF16 = /^vdpbf16|^vcvtne/

/** For each ISA the first thing in an instruction that it does not have, in words; undefined when all is well. */
const excess: Record<Isa, Excess> = {
  scalar: (text) => (/^(\{vex\} )?v[a-z]|^tile|^tdp|^ldtilecfg|^sttilecfg/.test(text) ? 'an AVX instruction' : undefined),
  avx2: (text) => (VEX_ONLY.test(text) ? 'an AVX-512 register' : VNNI.test(text) ? 'a VNNI instruction' : tiles(text)),
  avxvnni: (text) =>
    VEX_ONLY.test(text) ? 'an AVX-512 register' : VNNI.test(text) && !text.startsWith('{vex}') ? 'an EVEX VNNI instruction' : tiles(text),
  avx512: (text) => (VNNI.test(text) ? 'a VNNI instruction' : bf16(text)),
  avx512vnni: (text) => (text.startsWith('{vex}') ? 'an AVX-VNNI instruction' : bf16(text)),
  avx512bf16: (text) => (text.startsWith('{vex}') ? 'an AVX-VNNI instruction' : tiles(text)),
  amx: () => undefined,
  neon: (text) => (/^[su]dot\b/.test(text) ? 'a dot product instruction' : i8mm(text)),
  neondot: (text) => i8mm(text),
  neoni8mm: (text) => beyond(text),
}
const tiles = (text: string): string | undefined => (/%tmm|^tile|^tdp|tilecfg/.test(text) ? 'an AMX instruction' : undefined)
const bf16 = (text: string): string | undefined => (BF16.test(text) ? 'a bfloat16 instruction' : tiles(text))

const i8mm = (text: string): string | undefined =>
  /^(us|su)dot\b|^(us|[su])mmla\b/.test(text) ? 'a byte matrix instruction' : beyond(text)
/** What no level of ours has: bfloat16, SVE, half-precision arithmetic. */
const beyond = (text: string): string | undefined =>
  /^bf(dot|mmla|mlal|cvt)/.test(text)
    ? 'a bfloat16 instruction'
    : /\b[zp]\d+\.[bhsdq]\b/.test(text)
      ? 'an SVE register'
      : /^f(add|sub|mul|mla|mls|div|max|min)\w*\s+v\d+\.[48]h/.test(text)
        ? 'a half-precision instruction'
        : undefined

const ISA_NAME = /(?:^|[_:<\s])(avxvnni|avx512vnni|avx512bf16|avx512|avx2|amx|neondot|neoni8mm|neon)(?![a-zA-Z\d])/
/** The ISA in a demangled function name, its parameter list left out, or in a file name. */
const isaIn = (name: string): Isa | undefined => {
  const [plain = ''] = name.replaceAll('(anonymous namespace)::', '').split('(')
  return ISA_NAME.exec(plain)?.[1] as Isa | undefined
}

const kArm = 183 // e_machine of an ELF file
const isArm = (file: string): boolean => readFileSync(file).readUInt16LE(18) === kArm
/** The tool that reads objects of this architecture. */
const toolFor = (name: string, arm: boolean): string => (arm && process.arch !== 'arm64' ? `aarch64-linux-gnu-${name}` : name)

/** Problems of one object file; `isa` is the ISA of its file name, if it has one. */
export function checkObject(file: string, label: string): string[] {
  const fileIsa = isaIn(basename(file).replace(/\.(cc|cpp)?\.?o$/, ''))
  const arm = isArm(file)
  const symbols = fileIsa && fileIsa !== 'neon' // NEON is in every Arm processor that we build for
  return [...(symbols ? checkSymbols(file, label, fileIsa, arm) : []), ...checkInstructions(file, label, fileIsa, arm)]
}

function checkSymbols(file: string, label: string, isa: Isa, arm: boolean): string[] {
  const problems: string[] = []
  for (const line of run(toolFor('nm', arm), ['--demangle', '--defined-only', file]).split('\n')) {
    const [, type = '', name = ''] = /^\S*\s+(\S)\s+(.+)$/.exec(line) ?? []
    if (name.startsWith('_GLOBAL__sub_I')) problems.push(`${label}: has an initialiser that would run ${isa} code at load (${name})`)
    if (name.startsWith('DW.ref.')) continue // a data pointer of the exception tables
    if (/[WVu]/.test(type)) problems.push(`${label}: weak symbol ${name}: its ${isa} code may be linked for every processor`)
    else if (/[TDBR]/.test(type) && !isaIn(name)) problems.push(`${label}: external symbol ${name} does not carry its ISA in its name`)
  }
  return problems
}

function checkInstructions(file: string, label: string, fileIsa: Isa | undefined, arm: boolean): string[] {
  const problems: string[] = []
  let name = ''
  const base = arm ? 'neon' : 'scalar'
  let isa: Isa = base
  let test = excess[isa]
  let reported = false
  for (const line of run(toolFor('objdump', arm), ['--disassemble', '--demangle', '--no-show-raw-insn', file]).split('\n')) {
    if (line.startsWith('0') && line.endsWith('>:')) {
      name = line.slice(line.indexOf('<') + 1, -2)
      isa = isaIn(name) ?? fileIsa ?? base
      test = excess[isa]
      reported = false
    } else if (line.startsWith(' ') && !reported) {
      const text = line.slice(line.indexOf('\t') + 1)
      const found = test(text)
      if (!found) continue
      reported = true
      problems.push(`${label}: ${name} (${isa}) has ${found}: ${text.trim().replace(/\s+/g, ' ')}`)
    }
  }
  return problems
}

function run(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'latin1', maxBuffer: 1 << 30 })
}

/** All objects of the addon below a build folder: of CMake or of node-gyp, the test runner's own left out. */
export function checkIsaLeaks(base: string, folder: string): string[] {
  if (process.arch !== 'x64' && process.arch !== 'arm64') return []
  const objects = filesBelow(base, folder).filter((file) => /\/native\/.*\.o$/.test(file) && !/tersor_test|\/native\/test\//.test(file))
  if (!objects.length) return [`${folder}: no object files of native/; run npm run build:native first`]
  return objects.flatMap((file) => checkObject(join(base, file), file.slice(file.indexOf('/native/') + 1)))
}

runAsCheck(import.meta.url, () => {
  const folders = process.argv[2] ? [process.argv[2]] : ['build', ...(existsSync(join(root, 'build-arm/CMakeFiles')) ? ['build-arm'] : [])]
  return folders.flatMap((folder) => checkIsaLeaks(root, folder))
})
