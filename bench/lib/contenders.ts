/**
 * The contenders: how each is started, how it is capped to an instruction set, and where it comes from. One process per contender and cap,
 * started when first needed; one that does not start is absent, with its reason, and is listed as such.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ChildContender, type Command, type Hello } from './protocol.js'

export const root = join(import.meta.dirname, '..', '..')
const rivals = process.env.TERSOR_BENCH_RIVALS ?? join(root, 'bench', 'rivals')
const python = process.env.TERSOR_BENCH_PYTHON ?? '/usr/bin/python3'

type Env = Readonly<Record<string, string>>

interface ContenderKind {
  readonly title: string
  /** Program for a cap. */
  readonly start: (isa: string) => Command
  /** Environment that caps it; null: it cannot be capped, which the results say. */
  readonly cap: ((isa: string) => Env) | null
  /** What to do when it does not start. */
  readonly remedy: string
}

const byIsa =
  (variable: string, values: Env) =>
  (isa: string): Env =>
    values[isa] === undefined ? {} : { [variable]: values[isa] }

// Each library's name for the caps of native/cpu/isa.def.
const oneDnn = byIsa('ONEDNN_MAX_CPU_ISA', {
  avx2: 'AVX2',
  avxvnni: 'AVX2_VNNI',
  avx512: 'AVX512_CORE',
  avx512vnni: 'AVX512_CORE_VNNI',
  avx512bf16: 'AVX512_CORE_BF16',
  amx: 'AVX512_CORE_AMX',
})
// OpenBLAS takes processors it does not know for old ones: its kernels are named, uncapped or not.
const openBlas = byIsa('OPENBLAS_CORETYPE', {
  avx2: 'Haswell',
  avxvnni: 'Haswell',
  avx512: 'SkylakeX',
  avx512vnni: 'SkylakeX',
  avx512bf16: 'SkylakeX',
  amx: 'SkylakeX',
})
const libxsmm = byIsa('LIBXSMM_TARGET', { avx2: 'hsw', avxvnni: 'hsw', avx512: 'skx', avx512vnni: 'clx', avx512bf16: 'cpx', amx: 'spr' })
const is512 = (isa: string): boolean => isa.startsWith('avx512') || isa === 'amx'

function debianPackages(file: string): string {
  const full = join(root, 'bench', 'rivals', file)
  return existsSync(full) ? (/DEBIAN: (.*?)(?:"""|\n)/.exec(readFileSync(full, 'utf8'))?.[1]?.trim() ?? '') : ''
}

function native(name: string, title: string, cap: ContenderKind['cap'], variant: (isa: string) => string = () => ''): ContenderKind {
  const remedy = `npm run bench:rivals (Debian: ${debianPackages(`native/${name}.cc`)})`
  return { title, cap, remedy, start: (isa) => ({ command: join(rivals, 'build', name + variant(isa)), args: [] }) }
}
function scripted(name: string, title: string, cap: ContenderKind['cap']): ContenderKind {
  const file = `python/${name}_contender.py`
  return {
    title,
    cap,
    remedy: `Debian: ${debianPackages(file)}`,
    start: () => ({ command: python, args: [join(root, 'bench', 'rivals', file)] }),
  }
}
function node(name: string, title: string, cap: ContenderKind['cap'], remedy: string): ContenderKind {
  const script = join(root, 'bench', 'contenders', `${name}.ts`)
  return {
    title,
    cap,
    remedy,
    start: () => ({ command: process.execPath, args: ['--expose-gc', '--import', 'tsx', script], env: { TERSOR_BENCH_RIVALS: rivals } }),
  }
}
const tersor = (folder: string, title: string): ContenderKind => {
  const kind = node('tersor', title, (isa) => ({ TERSOR_ISA: isa }), 'npm run build')
  return { ...kind, start: (isa) => ({ ...kind.start(isa), env: { TERSOR_BENCH_PACKAGE: folder } }) }
}

/** All contenders by name. `base`: another revision of Tersor, built in that folder (bench:compare). */
export function contenderKinds(base?: string): Readonly<Record<string, ContenderKind>> {
  return {
    tersor: tersor(root, 'Tersor'),
    ...(base === undefined ? {} : { base: tersor(base, 'Tersor (base)') }),
    limits: native('limits', 'limit', (isa) => ({ TERSOR_ISA: isa })),
    onednn: native('onednn', 'oneDNN', oneDnn),
    openblas: native('openblas', 'OpenBLAS', openBlas),
    eigen: native(
      'eigen',
      'Eigen',
      () => ({}),
      (isa) => (is512(isa) ? '-avx512' : '-avx2'),
    ),
    xnnpack: native('xnnpack', 'XNNPACK', null),
    libxsmm: native('libxsmm', 'libxsmm', libxsmm),
    stl: native('stl', 'C++ library', () => ({})),
    numpy: scripted('numpy', 'NumPy', openBlas),
    scipy: scripted('scipy', 'SciPy', () => ({})),
    torch: scripted('torch', 'PyTorch', (isa) => ({
      ...oneDnn(isa),
      ...openBlas(isa),
      ATEN_CPU_CAPABILITY: is512(isa) ? 'avx512' : 'avx2',
    })),
    onnxruntime: node('onnxruntime', 'ONNX Runtime', null, 'npm run bench:rivals'),
    tfjs: node('tfjs', 'TensorFlow.js wasm', null, 'npm run bench:rivals'),
    javascript: node('javascript', 'JavaScript', () => ({}), ''),
  }
}

export interface Started {
  readonly title: string
  readonly child?: ChildContender
  readonly hello?: Hello
  /** It takes no cap: it may use all that the machine has. */
  readonly uncapped: boolean
  readonly absent?: string
}

/** Keeps the running contenders; those of the cap before are ended when the cap changes. */
export class ContenderPool {
  private readonly kinds: Readonly<Record<string, ContenderKind>>
  private readonly started = new Map<string, Promise<Started>>()
  constructor(base?: string) {
    this.kinds = contenderKinds(base)
  }

  title(name: string): string {
    return this.kinds[name]?.title ?? name
  }

  get(name: string, isa: string): Promise<Started> {
    const key = `${name} ${isa}`
    let one = this.started.get(key)
    if (!one) this.started.set(key, (one = this.start(name, isa)))
    return one
  }

  /** A process of its own, which the caller closes. */
  fresh(name: string, isa: string): Promise<Started> {
    return this.start(name, isa)
  }

  /** Who took part so far: title -> version and instruction set. */
  readonly versions: Record<string, string> = {}

  /** Ends all that run, or only those of other caps. */
  async close(exceptIsa?: string): Promise<void> {
    for (const [key, one] of this.started) {
      if (exceptIsa !== undefined && key.endsWith(` ${exceptIsa}`)) continue
      this.started.delete(key)
      ;(await one).child?.close()
    }
  }

  private async start(name: string, isa: string): Promise<Started> {
    const kind = this.kinds[name]
    if (!kind) return { title: name, uncapped: false, absent: 'no such contender' }
    const { command, args, env } = kind.start(isa)
    const uncapped = kind.cap === null
    // OpenMP's threads wait by spinning: long enough for the next call, too short to disturb the next contender.
    // Each keeps to a processor of its own: two that wake on the same one may stay there for a whole sample.
    const common = { GOMP_SPINCOUNT: '30000', OMP_DYNAMIC: 'false', OMP_PROC_BIND: 'true' }
    const child = new ChildContender({ command, args, env: { ...common, ...env, ...kind.cap?.(isa) } })
    try {
      const hello = await child.hello()
      this.versions[kind.title] = `${hello.version} (${hello.isa})`
      return { title: kind.title, uncapped, child, hello }
    } catch (error) {
      child.close()
      // The line that says what is wrong, of what it wrote.
      const lines = (error instanceof Error ? error.message : String(error)).trim().split('\n')
      const why = (lines.findLast((line) => /error|cannot/i.test(line)) ?? lines.at(-1) ?? '').trim()
      return { title: kind.title, uncapped, absent: `${why}${kind.remedy ? `; to have it: ${kind.remedy}` : ''}` }
    }
  }
}
