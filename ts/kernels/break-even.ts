/** From which sparsity on do sparse products beat dense ones here? Measured, not assumed. */
import { OptionError } from '../base/errors.js'
import { linear } from '../ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../tensor/index.js'
import { CsrMatrix } from './csr-matrix.js'
import { matmulInt8, packWeights } from './int8.js'
import { BitmaskMatrix, BlockMatrix, NmMatrix } from './sparse-matrix.js'

export interface BreakEvenOptions {
  /** Rows of x. Default 1. */
  readonly batch?: number
  /** Shares of zeros to try, ascending. Default 0.5, 0.7, 0.8, 0.9, 0.95, 0.98. */
  readonly sparsities?: readonly number[]
  /** About how long to measure, in ms. Default 1000. */
  readonly budgetMs?: number
}

export type SparseFormat = 'csr' | 'csr-i8' | 'bitmask' | 'block-1x16' | 'block-4x4' | 'block-16x1' | 'block-4x4-i8' | '2:4'

export interface BreakEven {
  readonly shape: readonly [rows: number, cols: number]
  readonly batch: number
  /** Median ms of the dense products. */
  readonly dense: { readonly f32: number; readonly i8: number }
  /** Median ms of each format at each sparsity. Blocks are zeroed whole; 2:4 stands at 0.5 only. */
  readonly points: readonly { readonly sparsity: number; readonly ms: Readonly<Partial<Record<SparseFormat, number>>> }[]
  /** The least sparsity tried from which on the format was faster at every one: null where it never was. */
  readonly crossover: Readonly<Record<'f32' | 'i8', Readonly<Partial<Record<SparseFormat, number | null>>>>>
}

const BLOCKS = { 'block-1x16': [1, 16], 'block-4x4': [4, 4], 'block-16x1': [16, 1] } as const

/**
 * Times y = x W^T for a random W [rows, cols] in every format against dense f32 and dense int8 (x quantized on the way), interleaved, on this machine and with its
 * current number of threads. Blocks loses and wins are not comparable in accuracy with unstructured ones: a network bears fewer zeros in blocks.
 *
 * @example
 * const { crossover } = measureBreakEven([768, 768], { batch: 16 })
 * crossover.f32.csr   // for example 0.5: from half zeros on CSR is faster than the dense f32 product
 */
export function measureBreakEven(shape: readonly [rows: number, cols: number], options: BreakEvenOptions = {}): BreakEven {
  const { batch = 1, sparsities = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98], budgetMs = 1000 } = options
  const [rows, cols] = shape
  for (const [name, n] of [
    ['rows', rows],
    ['cols', cols],
    ['batch', batch],
  ] as const)
    // prettier-ignore
    if (!Number.isInteger(n) || n < 1 || n > 65536)
      throw new OptionError('ERR_OPTION', `measureBreakEven: ${name} must be an integer in [1, 65536], got ${n}`)
  if (sparsities.length === 0 || sparsities.some((s, i) => !(s >= 0 && s < 1) || (i > 0 && s <= sparsities[i - 1]!)))
    throw new OptionError('ERR_OPTION', `measureBreakEven: sparsities must ascend within [0, 1), got [${sparsities.join(', ')}]`)
  if (!(budgetMs > 0) || budgetMs > 600_000)
    throw new OptionError('ERR_OPTION', `measureBreakEven: budgetMs must be in (0, 600000], got ${budgetMs}`)
  return scope(() => {
    const random = xorshift(rows * 31 + cols)
    const x = tensor(
      Float32Array.from({ length: batch * cols }, () => random() - 0.5),
      [batch, cols],
    )
    const denseMs: Record<'f32' | 'i8', number[]> = { f32: [], i8: [] }
    const full = randomBlocks([rows, cols], 0, 1, 1, random)
    const packed = packWeights(zeros([rows, cols], 'i8'))
    const wScale = tensor([0.01])
    const points = sparsities.map((sparsity) =>
      scope(() => {
        const runs = formats([rows, cols], sparsity, random).map(([name, w]) => ({ name, run: () => w.matmul(x), times: [] as number[] }))
        const dense = [
          { run: () => linear(x, full, null), times: denseMs.f32 },
          { run: () => matmulInt8(x, packed, { xScale: 0.01, wScale }), times: denseMs.i8 },
        ]
        interleave([...runs, ...dense], budgetMs / sparsities.length)
        return { sparsity, ms: Object.fromEntries(runs.map((r) => [r.name, median(r.times)])) as Record<SparseFormat, number> }
      }),
    )
    const dense = { f32: median(denseMs.f32), i8: median(denseMs.i8) }
    const names = [...new Set(points.flatMap((p) => Object.keys(p.ms)))] as SparseFormat[]
    const from = (limit: number): Partial<Record<SparseFormat, number | null>> =>
      Object.fromEntries(
        names.map((name) => {
          const tried = points.filter((p) => p.ms[name] !== undefined)
          const slow = tried.findLastIndex((p) => p.ms[name] >= limit)
          return [name, tried[slow + 1]?.sparsity ?? null]
        }),
      )
    return { shape: [rows, cols], batch, dense, points, crossover: { f32: from(dense.f32), i8: from(dense.i8) } }
  })
}

function formats(
  shape: readonly [number, number],
  sparsity: number,
  random: () => number,
): [SparseFormat, { matmul(x: Tensor): Tensor }][] {
  const w = randomBlocks(shape, sparsity, 1, 1, random)
  const out: [SparseFormat, { matmul(x: Tensor): Tensor }][] = [
    ['csr', CsrMatrix.from(w)],
    ['csr-i8', CsrMatrix.from(w, { values: 'i8' })],
    ['bitmask', BitmaskMatrix.from(w)],
  ]
  for (const [name, [r, c]] of Object.entries(BLOCKS))
    out.push([name as SparseFormat, BlockMatrix.from(randomBlocks(shape, sparsity, r, c, random), [r, c])])
  const quantized = BlockMatrix.from(randomBlocks(shape, sparsity, 4, 4, random), [4, 4], { values: 'i8' })
  out.push(['block-4x4-i8', { matmul: (x) => quantized.matmul(x, null, { xScale: 0.01 }) }])
  if (sparsity === 0.5) out.push(['2:4', NmMatrix.from(twoOfFour(shape, random))])
  return out
}

/** f32 in (0, 1], whole blocks of r x c zeroed with probability `sparsity`. */
function randomBlocks([rows, cols]: readonly [number, number], sparsity: number, r: number, c: number, random: () => number): Tensor {
  const across = Math.ceil(cols / c)
  const kept = Uint8Array.from({ length: Math.ceil(rows / r) * across }, () => (random() >= sparsity ? 1 : 0))
  const w = new Float32Array(rows * cols)
  for (let i = 0, at = 0; i < rows; i++)
    for (let j = 0; j < cols; j++, at++) if (kept[Math.floor(i / r) * across + Math.floor(j / c)]) w[at] = 1 - random()
  return tensor(w, [rows, cols])
}

function twoOfFour([rows, cols]: readonly [number, number], random: () => number): Tensor {
  return tensor(
    Float32Array.from({ length: rows * cols }, (_, i) => ((i % cols) % 2 ? 1 - random() : 0)),
    [rows, cols],
  )
}

/** Each run twice a turn, the second is timed: warm caches, and all see the same moods of the machine. */
function interleave(runs: readonly { run: () => Tensor; times: number[] }[], budgetMs: number): void {
  const end = performance.now() + budgetMs
  for (let turn = 0; turn < 3 || performance.now() < end; turn++)
    for (const { run, times } of runs) {
      run().dispose()
      const start = performance.now()
      const y = run()
      times.push(performance.now() - start)
      y.dispose()
    }
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1]!
}

/** Uniform in [0, 1). */
function xorshift(seed: number): () => number {
  let s = seed | 0 || 1
  return () => {
    s ^= s << 13
    s ^= s >>> 17
    s ^= s << 5
    return (s >>> 0) / 2 ** 32
  }
}
