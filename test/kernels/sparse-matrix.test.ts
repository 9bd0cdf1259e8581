/** Sparse matrices of every format against the dense product; damaged parts; the measured break-even. */
import { describe, expect, it } from 'vitest'
import {
  BitmaskMatrix,
  BlockMatrix,
  CsrMatrix,
  NmMatrix,
  maskPack,
  matmul,
  measureBreakEven,
  scope,
  tensor,
  topKMask,
  zeros,
  type BlockSize,
  type SparseOptions,
  type Tensor,
} from '../../ts/kernels/index.js'
import { numbers } from '../laws/cases.js'
import { rng, sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const run = (name: string, f: () => void): void => it(name, () => scope(f))

/** Elements in the first two of each four columns, every third row empty. */
function weight(rows: number, cols: number): Tensor {
  const random = rng(rows * 100 + cols)
  const values = Float32Array.from({ length: rows * cols }, (_, i) =>
    (i % cols) % 4 < 2 && Math.floor(i / cols) % 3 !== 2 && random() < 0.7 ? random() - 0.5 : 0,
  )
  return tensor(values, [rows, cols])
}
interface Sparse {
  readonly shape: readonly number[]
  readonly nnz: number
  readonly density: number
  readonly bytes: number
  readonly scale: Tensor | null
  matmul(x: Tensor, bias?: Tensor | null): Tensor
  toDense(): Tensor
  dispose(): void
}
const blocks = [[1, 16], [4, 4], [16, 1]] as const // prettier-ignore
const kinds: [string, (w: Tensor, o?: SparseOptions) => Sparse][] = [
  ['CsrMatrix', (w, o) => CsrMatrix.from(w, o)],
  ['CsrMatrix with 32-bit columns', (w, o) => CsrMatrix.from(w, { ...o, index: 'i32' })],
  ['BitmaskMatrix', (w, o) => BitmaskMatrix.from(w, o)],
  ['NmMatrix', (w, o) => NmMatrix.from(w, o)],
  ...blocks.map(
    (b: BlockSize) =>
      [`BlockMatrix ${b[0]}x${b[1]}`, (w: Tensor, o?: SparseOptions) => BlockMatrix.from(w, b, o)] as (typeof kinds)[number],
  ),
]
const close = (got: Tensor, want: Tensor, digits: number): void => {
  expect(got.shape).toEqual(want.shape)
  numbers(got).forEach((v, i) => expect(v).toBeCloseTo(numbers(want)[i]!, digits))
}

describe.each(kinds)('%s', (_, from) => {
  run('holds the matrix and multiplies like it', () => {
    for (const [rows, cols] of [
      [7, 13],
      [33, 70],
      [16, 64],
    ] as const) {
      const dense = weight(rows, cols)
      const w = from(dense)
      expect(numbers(w.toDense())).toEqual(numbers(dense))
      expect(w.shape).toEqual([rows, cols])
      const nonzero = numbers(dense).filter((v) => v !== 0).length
      expect([w.nnz, w.density]).toEqual([nonzero, nonzero / (rows * cols)])
      const bias = sampler(5, 'f32').normal(rows)
      for (const m of [1, 3, 5, 40]) {
        const x = sampler(m, 'f32').normal(m, cols)
        const y = numbers(matmul(x, dense, false, true)).map((v, i) => v + numbers(bias)[i % rows]!)
        close(w.matmul(x, bias), tensor(Float32Array.from(y), [m, rows]), 4)
      }
      close(w.matmul(sampler(9, 'f32').normal(2, 3, cols)), zeros([2, 3, rows]), -3)
    }
  })

  run('quantizes its values when asked, and keeps codes given', () => {
    const dense = weight(20, 30)
    const w = from(dense, { values: 'i8' })
    expect(w.scale!.shape).toEqual([20])
    expect(w.bytes).toBeLessThan(from(dense).bytes)
    close(w.toDense(), dense, 2)
    const x = sampler(1, 'f32').normal(3, 30)
    close(w.matmul(x), matmul(x, w.toDense(), false, true), 4)
    const codes = from(tensor(new Int8Array([3, 0, 0, -7]), [2, 2]), { scale: tensor([0.5]) })
    expect(codes.toDense().toArray()).toEqual([
      [1.5, 0],
      [0, -3.5],
    ])
  })

  run('leaves out what a mask leaves out', () => {
    const w = tensor([[1, 5, 0, 0], [2, 4, 0, 0]]) // prettier-ignore
    expect(from(w, { mask: topKMask(w, 2) }).toDense().toArray()).toEqual([[0, 5, 0, 0], [0, 4, 0, 0]]) // prettier-ignore
    const codes = tensor(new Int8Array([1, 2, 3, 4]), [2, 2])
    const kept = from(codes, { scale: tensor([1]), mask: maskPack(tensor([[1, 0], [0, 1]])) }) // prettier-ignore
    expect(kept.toDense().toArray()).toEqual([[1, 0], [0, 4]]) // prettier-ignore
  })

  run('refuses what does not fit', () => {
    const w = from(weight(4, 8))
    for (const cols of [0, 7, 9, 90]) expect(() => w.matmul(zeros([2, cols]))).toThrowError(code('ERR_SHAPE'))
    expect(() => w.matmul(tensor(1))).toThrowError(code('ERR_SHAPE'))
    expect(() => w.matmul(zeros([2, 8]), zeros([3]))).toThrowError(code('ERR_SHAPE'))
    expect(() => w.matmul(zeros([2, 8], 'f64'))).toThrowError(code('ERR_DTYPE'))
    expect(() => from(weight(4, 8), { scale: tensor([1]) })).toThrowError(code('ERR_OPTION'))
    expect(() => from(zeros([2, 2], 'i8'))).toThrowError(code('ERR_OPTION'))
    expect(() => from(zeros([2, 2], 'f64'))).toThrowError(code('ERR_DTYPE'))
    expect(() => from(zeros([8]))).toThrowError(code('ERR_SHAPE'))
    expect(() => from(weight(4, 8), { values: 'u8' as never })).toThrowError(code('ERR_OPTION'))
    w.dispose()
    expect(() => w.matmul(zeros([1, 8]))).toThrowError(code('ERR_DISPOSED'))
  })
})

describe('what belongs to one format', () => {
  run('blocks with a quantized x multiply in integers', () => {
    const codes = tensor(
      Int8Array.from({ length: 40 * 36 }, (_, i) => (i % 7 ? 0 : (i % 251) - 125)),
      [40, 36],
    )
    const random = rng(3)
    const x = tensor(
      Float32Array.from({ length: 70 * 36 }, () => (Math.floor(random() * 256) - 100) * 0.25),
      [70, 36],
    )
    for (const block of blocks) {
      const w = BlockMatrix.from(codes, block, { scale: tensor([0.5]) })
      expect(w.blockDensity).toBeGreaterThan(0)
      const want = matmul(x, w.toDense(), false, true)
      expect(numbers(w.matmul(x, null, { xScale: 0.25, xZero: 100 }))).toEqual(numbers(want))
      expect(() => w.matmul(x, null, { xScale: -1 })).toThrowError(code('ERR_OPTION'))
      expect(() => w.matmul(x, null, { xScale: NaN })).toThrowError(code('ERR_OPTION'))
      expect(() => w.matmul(x, null, { xScale: 1, xZero: 2 ** 32 + 1 })).toThrowError(code('ERR_OPTION'))
    }
    const floats = BlockMatrix.from(weight(4, 4), [4, 4])
    expect(() => floats.matmul(zeros([1, 4]), null, { xScale: 1 })).toThrowError(code('ERR_OPTION'))
    for (const block of [
      [2, 2],
      [NaN, 4],
      [2 ** 32 + 4, 4],
    ] as const)
      // prettier-ignore
      expect(() => BlockMatrix.from(weight(4, 4), block)).toThrowError(code('ERR_OPTION'))
    expect(() => BlockMatrix.from(zeros([1, 65537]), [16, 1])).toThrowError(code('ERR_LIMIT'))
  })

  run('2:4 names the place that holds too much', () => {
    const full = tensor([[0, 1, 0, 0, 1, 1, 1, 0]])
    expect(() => NmMatrix.from(full)).toThrowError(/columns 4 to 7 of row 0/)
    expect(() => NmMatrix.from(full)).toThrowError(code('ERR_DATA'))
  })

  run('16-bit columns reach 65536', () => {
    expect(CsrMatrix.from(zeros([1, 65536])).columns.dtype).toBe('u16')
    expect(CsrMatrix.from(zeros([1, 65537])).columns.dtype).toBe('i32')
    expect(() => CsrMatrix.from(zeros([1, 65537]), { index: 'u16' })).toThrowError(code('ERR_OPTION'))
    expect(() => CsrMatrix.from(zeros([1, 3]), { index: 'u8' as never })).toThrowError(code('ERR_OPTION'))
    expect(() => BitmaskMatrix.from(zeros([1, 65537]))).toThrowError(code('ERR_LIMIT'))
  })

  run('damaged parts are refused', () => {
    const i32 = (...v: number[]): Tensor => tensor(Int32Array.from(v))
    const u8 = (rows: number, ...v: number[]): Tensor => tensor(Uint8Array.from(v), [rows, v.length / rows])
    const block = (indptr: number[], columns: number[]): BlockMatrix =>
      new BlockMatrix(
        { values: zeros([16 * columns.length]), indptr: i32(...indptr), columns: tensor(Uint16Array.from(columns)) },
        [4, 8],
        [4, 4],
      )
    expect(block([0, 2], [0, 1]).blockDensity).toBe(1)
    for (const [indptr, columns] of [
      [
        [0, 2],
        [1, 0],
      ],
      [
        [0, 2],
        [0, 0],
      ],
      [[0, 1], [2]],
      [[1, 1], [0]],
      [[0, -1], [0]],
    ] as const)
      // prettier-ignore
      expect(() => block([...indptr], [...columns])).toThrowError(code('ERR_MODEL_FORMAT'))
    expect(() => block([0], [])).toThrowError(code('ERR_SHAPE'))
    const bits = (indptr: number[], ...v: number[]): BitmaskMatrix =>
      new BitmaskMatrix({ values: zeros([2]), indptr: i32(...indptr), bits: u8(2, ...v) }, 3)
    expect(bits([0, 1, 2], 1, 4).shape).toEqual([2, 3])
    for (const [indptr, a, b] of [
      [[0, 1, 2], 3, 4],
      [[0, 1, 2], 1, 8],
      [[0, 2, 2], 1, 4],
      [[0, 3, 2], 1, 4],
    ] as const)
      // prettier-ignore
      expect(() => bits([...indptr], a, b)).toThrowError(code('ERR_MODEL_FORMAT'))
    const nm = (...v: number[]): NmMatrix => new NmMatrix({ values: zeros([1, 4]), indices: u8(1, ...v) }, 8)
    expect(nm(0x44).shape).toEqual([1, 8])
    expect(() => nm(0x45)).toThrowError(code('ERR_MODEL_FORMAT'))
    expect(() => new NmMatrix({ values: zeros([1, 4]), indices: u8(1, 0) }, 9)).toThrowError(code('ERR_SHAPE'))
  })

  run('the examples of the documentation', () => {
    expect(BlockMatrix.from(tensor([[1, 2, 0, 0, 0], [0, 0, 0, 0, 0]]), [4, 4]).matmul(tensor([[3, 4, 5, 6, 7]])).toArray()).toEqual([[11, 0]]) // prettier-ignore
    expect(BitmaskMatrix.from(tensor([[0, 2], [1, 0]])).matmul(tensor([[3, 4]])).toArray()).toEqual([[8, 3]]) // prettier-ignore
    expect(NmMatrix.from(tensor([[0, 2, 0, 3], [1, 0, 0, 0]])).matmul(tensor([[1, 2, 3, 4]])).toArray()).toEqual([[16, 1]]) // prettier-ignore
    close(CsrMatrix.from(tensor([[0, 2], [1, 0]]), { values: 'i8' }).matmul(tensor([[3, 4]])), tensor([[8, 3]]), 5) // prettier-ignore
  })
})

describe('measureBreakEven', () => {
  run('times every format and says where it begins to win', () => {
    const r = measureBreakEven([48, 64], { batch: 4, sparsities: [0.5, 0.95], budgetMs: 40 })
    expect(r).toMatchObject({ shape: [48, 64], batch: 4 })
    expect(r.points.map((p) => p.sparsity)).toEqual([0.5, 0.95])
    expect(Object.keys(r.points[0]!.ms).sort()).toEqual(['2:4', 'bitmask', 'block-16x1', 'block-1x16', 'block-4x4', 'block-4x4-i8', 'csr', 'csr-i8']) // prettier-ignore
    for (const ms of [r.dense.f32, r.dense.i8, ...r.points.flatMap((p) => Object.values(p.ms))]) expect(ms).toBeGreaterThan(0)
    for (const kind of ['f32', 'i8'] as const)
      for (const [name, at] of Object.entries(r.crossover[kind])) {
        const faster = r.points.filter((p) => p.ms[name as 'csr'] !== undefined && p.ms[name as 'csr']! < r.dense[kind])
        expect(at === null || faster.some((p) => p.sparsity === at)).toBe(true)
      }
  })

  run('refuses what it cannot measure', () => {
    for (const shape of [
      [0, 4],
      [4, NaN],
      [4.5, 4],
      [2 ** 32 + 1, 4],
    ] as const)
      // prettier-ignore
      expect(() => measureBreakEven(shape)).toThrowError(code('ERR_OPTION'))
    for (const o of [{ batch: 0 }, { sparsities: [] }, { sparsities: [0.9, 0.5] }, { sparsities: [1] }, { budgetMs: 0 }, { budgetMs: NaN }])
      expect(() => measureBreakEven([4, 4], o)).toThrowError(code('ERR_OPTION'))
  })
})
