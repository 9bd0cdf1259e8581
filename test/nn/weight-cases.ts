/** Weights of every kind, as a table: what the laws of weights.test.ts run over. */
import { expect } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { sizeOf } from '../../ts/base/shape.js'
import { binarized } from '../../ts/compress/quantize/binary.js'
import { tf32 } from '../../ts/compress/quantize/cast.js'
import { toBits } from '../../ts/graph/minifloat.js'
import {
  BinaryWeight,
  CodebookWeight,
  DenseWeight,
  DualWeight,
  LowRankWeight,
  type MaskedWeight,
  maskWeight,
  NarrowWeight,
  QuantizedWeight,
  type SparseWeight,
  sparseFrom,
  sparseLayoutFrom,
  sparseLayouts,
  type NarrowFormat,
  type QuantizedParts,
  type Weight,
} from '../../ts/nn/index.js'
import { cast, conv2d, embedding, linear, quantizeRows, topkMask } from '../../ts/ops/index.js'
import { callOp, scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { normal } from './lib.js'

export const shapes = { matrix: [12, 20], kernel: [6, 3, 3, 3], table: [9, 16] } as const
export type Use = keyof typeof shapes

export interface Case {
  readonly name: string
  readonly use: Use
  readonly kind: string
  make(): Weight
  /** Largest |value - source| over the elements that the kind keeps. */
  readonly error: number
  /** What it stands for, where that is neither the source nor what `pruned` keeps of it. */
  readonly kept?: () => Tensor
}

export const source = (use: Use): Tensor => normal(shapes[use], 7)
export const matrix = (use: Use): [number, number] => [shapes[use][0], sizeOf(shapes[use].slice(1))]
export const topMask = (use: Use, share: number): Tensor =>
  topkMask(callOp('abs', [source(use)])[0]!, Math.round(share * sizeOf(shapes[use])))
export const pruned = (use: Use, share = 0.3): MaskedWeight => scope(() => maskWeight(new DenseWeight(source(use)), topMask(use, share)))

export interface QuantizedCase extends Partial<Pick<QuantizedParts, 'input' | 'scaleDtype' | 'coding'>> {
  readonly bits: number
  readonly layout: QuantizedParts['layout']
  readonly groups?: number
  readonly affine?: boolean
}
export const SPAN = 4.5 // the source lies within

export function quantized(
  use: Use,
  { bits, layout, groups = 1, affine = false, ...rest }: QuantizedCase,
  from: Tensor = source(use),
): QuantizedWeight {
  return scope(() => {
    const [rows, cols] = matrix(use)
    const lead = layout === 'tensor' ? 1 : rows
    const half = 2 ** (bits - 1)
    // Powers of two, different per row: exact in f16.
    const scale = tensor(
      Float32Array.from({ length: lead * groups }, (_, i) => (i % 3 === 0 ? 2 : 1) * 2 ** Math.ceil(Math.log2(SPAN / (half - 1)))),
      [lead, groups],
    )
    const zero = affine
      ? tensor(
          Float32Array.from({ length: lead * groups }, (_, i) => (i % 2 ? 1 : -1)),
          [lead, groups],
        )
      : null
    const q = quantizeRows(from.reshapeView([rows, cols]), scale, zero, -half, half - 1)
    return new QuantizedWeight({ shape: shapes[use], q, scale, zero, bits, layout, ...rest })
  })
}

export const input = { scale: 0.04, zero: 128 }
export const step = (bits: number): number => 2 * 2 ** Math.ceil(Math.log2(SPAN / (2 ** (bits - 1) - 1)))
export const q = (name: string, use: Use, c: QuantizedCase): Case => ({
  name: `quantized ${name} ${use}`,
  use,
  kind: 'quantized',
  make: () => scope(() => quantized(use, c)),
  error: step(c.bits) * 1.01,
})
export const sparseInt8 = (use: Use, layout: 'tensor' | 'channel'): SparseWeight =>
  scope(() => sparseFrom(quantized(use, { bits: 8, layout }, pruned(use).value)))

/** Codebooks, narrow floats, signs, and scales shared by runs of rows. */
export function extraCases(use: Use): Case[] {
  const [rows, cols] = matrix(use)
  const codebook = (layout: 'tensor' | 'row' | 'group', zero = false): Weight =>
    scope(() => {
      const tables = layout === 'tensor' ? 1 : layout === 'row' ? rows : rows * 2
      const entries = 8
      const book = Float32Array.from({ length: tables * entries }, (_, i) =>
        zero && i % entries === 0 ? 0 : (2 * SPAN * (i % entries)) / 7 - SPAN,
      )
      const values = source(use).read() as Float32Array
      const codes = Int8Array.from(values, (v) => Math.max(zero ? 1 : 0, Math.min(7, Math.round(((v + SPAN) / (2 * SPAN)) * 7))) - 4)
      const parts = { shape: shapes[use], codes: tensor(codes, [rows, cols]), table: tensor(book), bits: 3, entries, layout }
      return new CodebookWeight({ ...parts, zero })
    })
  const narrow = (format: NarrowFormat, scale: number): Weight =>
    scope(() => {
      if (format === 'f16' || format === 'bf16') return new NarrowWeight({ format, value: cast(source(use), format) })
      if (format === 'tf32') return new NarrowWeight({ format, value: tensor(tf32(source(use).read() as Float32Array), shapes[use]) })
      const kind = format === 'f8e4m3' ? 'f8e4m3fn' : 'f8e5m2'
      const bytes = Uint8Array.from(source(use).read() as Float32Array, (v) => toBits(kind, v / 0.5))
      return new NarrowWeight({ format, value: tensor(bytes, shapes[use]), scale: tensor(new Float32Array(scale).fill(0.5)) })
    })
  /** Twice the largest error of a table of 8: what the test halves. */
  const half = SPAN / 7
  return [
    { name: `codebook per tensor ${use}`, use, kind: 'codebook', make: () => codebook('tensor'), error: 2 * half * 1.01 },
    { name: `codebook per row ${use}`, use, kind: 'codebook', make: () => codebook('row'), error: 2 * half * 1.01 },
    ...(cols % 2 === 0
      ? [{ name: `codebook in groups ${use}`, use, kind: 'codebook', make: () => codebook('group'), error: 2 * half * 1.01 }]
      : []),
    { name: `codebook with 0 ${use}`, use, kind: 'codebook', make: () => codebook('tensor', true), error: 2 * half * 1.01 },
    { name: `f16 ${use}`, use, kind: 'narrow', make: () => narrow('f16', 0), error: SPAN * 2 ** -11 },
    { name: `bf16 ${use}`, use, kind: 'narrow', make: () => narrow('bf16', 0), error: SPAN * 2 ** -8 },
    { name: `tf32 ${use}`, use, kind: 'narrow', make: () => narrow('tf32', 0), error: SPAN * 2 ** -11 },
    { name: `f8e4m3 scaled ${use}`, use, kind: 'narrow', make: () => narrow('f8e4m3', 1), error: SPAN / 16 },
    { name: `f8e5m2 per channel ${use}`, use, kind: 'narrow', make: () => narrow('f8e5m2', rows), error: SPAN / 8 },
    {
      name: `binary ${use}`,
      use,
      kind: 'binary',
      make: () =>
        scope(() => {
          const { bits, alpha } = binarized(source(use).read() as Float32Array, rows)
          return new BinaryWeight({ shape: shapes[use], bits: tensor(bits), alpha: tensor(alpha) })
        }),
      error: SPAN,
    },
    {
      name: `int4 per run of rows ${use}`,
      use,
      kind: 'quantized',
      make: () =>
        scope(() => {
          const scale = tensor(
            Float32Array.from({ length: rows }, (_, r) => (r < rows / 3 ? 2 : 1) * 2 ** Math.ceil(Math.log2(SPAN / 7))),
            [rows, 1],
          )
          const q = quantizeRows(source(use).reshapeView([rows, cols]), scale, null, -8, 7)
          return new QuantizedWeight({ shape: shapes[use], q, scale, bits: 4, layout: 'rows', rowsPerScale: rows / 3, scaleDtype: 'f16' })
        }),
      error: step(4) * 1.01,
    },
  ]
}

export const uses: Use[] = ['matrix', 'kernel', 'table']
export const table: Case[] = uses.flatMap((use) => [
  { name: `dense ${use}`, use, kind: 'dense', make: () => new DenseWeight(source(use)), error: 0 },
  { name: `masked ${use}`, use, kind: 'masked', make: () => pruned(use), error: 0 },
  ...[2, 3, 4, 5, 6, 7, 8].map((bits) => q(`int${bits} per channel`, use, { bits, layout: 'channel' })),
  q('int8 per tensor', use, { bits: 8, layout: 'tensor' }),
  q('int4 groups', use, { bits: 4, layout: 'group', groups: 3 }),
  q('int4 groups f16', use, { bits: 4, layout: 'group', groups: 3, scaleDtype: 'f16' }),
  q('int4 groups affine', use, { bits: 4, layout: 'group', groups: 3, affine: true, scaleDtype: 'f16' }),
  q('int6 per tensor affine', use, { bits: 6, layout: 'tensor', affine: true }),
  q('int8 per channel, coded sparsely', use, { bits: 8, layout: 'channel', coding: 'sparse' }),
  ...(use === 'table'
    ? []
    : [
        q('int8 per channel, u8 input', use, { bits: 8, layout: 'channel', input }),
        q('int4 per tensor, u8 input', use, { bits: 4, layout: 'tensor', input }),
      ]),
  { name: `sparse f32 ${use}`, use, kind: 'sparse', make: () => scope(() => sparseFrom(pruned(use))), error: 0 },
  { name: `sparse int8 ${use}`, use, kind: 'sparse', make: () => sparseInt8(use, 'channel'), error: step(8) * 1.01 },
  { name: `sparse int8 one scale ${use}`, use, kind: 'sparse', make: () => sparseInt8(use, 'tensor'), error: step(8) * 1.01 },
])

table.push(...uses.flatMap(extraCases))
table.push(
  ...uses.flatMap((use) =>
    sparseLayouts
      .filter((layout) => layout !== '2:4') // prunes on its own
      .flatMap((layout): Case[] => [
        {
          name: `${layout} f32 ${use}`,
          use,
          kind: 'sparse-layout',
          make: () => scope(() => sparseLayoutFrom(pruned(use), layout)),
          error: 0,
        },
        {
          name: `${layout} int8 ${use}`,
          use,
          kind: 'sparse-layout',
          make: () => scope(() => sparseLayoutFrom(quantized(use, { bits: 8, layout: 'channel' }, pruned(use).value), layout)),
          error: step(8) * 1.01,
        },
      ]),
  ),
)

/** The two largest of each four neighbours. */
const twoOfFour = (use: Use): MaskedWeight => {
  const values = source(use).read() as Float32Array
  const bits = new Uint8Array(Math.ceil(values.length / 8))
  for (let at = 0; at < values.length; at += 4)
    for (const i of [0, 1, 2, 3].sort((a, b) => Math.abs(values[at + b]!) - Math.abs(values[at + a]!)).slice(0, 2))
      bits[(at + i) >> 3]! |= 1 << ((at + i) & 7)
  return maskWeight(new DenseWeight(source(use)), tensor(bits))
}
/** Everything is exact: what it computes is what its big part computes. */
const twinned = (use: Use, big: () => Weight, bits: 4 | 32): DualWeight => {
  const [rows] = matrix(use)
  const scale = tensor(new Float32Array(rows).fill(0.25), [rows, 1])
  const little =
    bits === 32
      ? new DenseWeight(normal([rows, 6], 8))
      : new QuantizedWeight({ shape: [rows, 6], q: quantizeRows(normal([rows, 6], 8), scale, null, -8, 7), scale, bits, layout: 'channel' })
  const rule = { choice: { rule: 'top-k', ratio: 0 }, side: 'magnitude' } as const
  return new DualWeight({ big: big(), little, k: 6, copies: 1, projection: { seed: 3, stream: 0 }, ...rule })
}
table.push(
  ...(['matrix', 'table'] as const).flatMap((use): Case[] => [
    {
      ...{ name: `2:4 f32 ${use}`, use, kind: 'sparse-layout', error: 0 },
      make: () => scope(() => sparseLayoutFrom(twoOfFour(use), '2:4')),
      kept: () => twoOfFour(use).value,
    },
    {
      ...{ name: `2:4 int8 ${use}`, use, kind: 'sparse-layout', error: step(8) * 1.01 },
      make: () => scope(() => sparseLayoutFrom(quantized(use, { bits: 8, layout: 'channel' }, twoOfFour(use).value), '2:4')),
      kept: () => twoOfFour(use).value,
    },
  ]),
  ...(['matrix', 'kernel'] as const).flatMap((use): Case[] => [
    {
      ...{ name: `dual ${use}`, use, kind: 'dual', error: 0 },
      make: () => scope(() => twinned(use, () => new DenseWeight(source(use)), 32)),
    },
    {
      ...{ name: `dual of int8, 4-bit twin ${use}`, use, kind: 'dual', error: step(8) * 1.01 },
      make: () => scope(() => twinned(use, () => quantized(use, { bits: 8, layout: 'channel' }), 4)),
    },
  ]),
)

/** Two random factors of rank 4. */
const factors = (use: Use): { left: Tensor; right: Tensor } => {
  const [rows] = matrix(use)
  const left = normal(use === 'kernel' ? [rows, 4, 1, 1] : [rows, 4], 21, 0.5)
  return { left, right: normal([4, ...shapes[use].slice(1)], 22, 0.5) }
}
const rounded = (w: Tensor): QuantizedWeight =>
  scope(() => {
    const rows = w.shape[0]!
    const scale = tensor(new Float32Array(rows).fill(2 ** -6), [rows, 1])
    return new QuantizedWeight({
      shape: w.shape,
      q: quantizeRows(w.reshapeView([rows, w.size / rows]), scale, null, -128, 127),
      scale,
      bits: 8,
      layout: 'channel',
    })
  })
const productOf = (use: Use, of: (t: Tensor) => Tensor): Tensor => {
  const [rows, cols] = matrix(use)
  const { left, right } = factors(use)
  const [a, b] = [of(left), of(right)].map((t) => t.read() as Float32Array) as [Float32Array, Float32Array]
  const at = (k: number, c: number): number => b[k * cols + c]!
  const values = Float32Array.from({ length: rows * cols }, (_, i) => [0, 1, 2, 3].reduce((sum, k) => sum + a[Math.floor(i / cols) * 4 + k]! * at(k, i % cols), 0)) // prettier-ignore
  return tensor(values, shapes[use])
}
table.push(
  ...uses.flatMap((use): Case[] => {
    const lowRank = (of: (t: Tensor) => Weight): Weight =>
      scope(() => {
        const { left, right } = factors(use)
        return new LowRankWeight(shapes[use], { left: of(left), right: of(right) })
      })
    return [
      {
        ...{ name: `rank 4 ${use}`, use, kind: 'low-rank', error: 2e-5 },
        make: () => lowRank((t) => new DenseWeight(t)),
        kept: () => productOf(use, (t) => t),
      },
      {
        ...{ name: `rank 4, int8 factors ${use}`, use, kind: 'low-rank', error: 2e-5 },
        make: () => lowRank(rounded),
        kept: () => productOf(use, (t) => rounded(t).dense()),
      },
    ]
  }),
)

export const sameRaw = (a: RawTensor, b: RawTensor): void => {
  expect([a.dtype, a.shape]).toEqual([b.dtype, b.shape])
  expect(Buffer.compare(a.data, b.data)).toBe(0)
}

/** The layer's input and what it gives for dense values. */
export const inputs: Record<
  Use,
  { x: () => Tensor; dense: (x: Tensor, w: Tensor) => Tensor; apply: (x: Tensor, w: Weight) => Tensor; bias: () => Tensor | null }
> = {
  matrix: {
    x: () => normal([2, 5, 20], 3),
    bias: () => normal([12], 4),
    dense: (x, w) => linear(x, w, normal([12], 4)),
    apply: (x, w) => w.apply(x, { op: 'linear', bias: normal([12], 4) }),
  },
  kernel: {
    x: () => normal([2, 3, 7, 8], 3),
    bias: () => normal([6], 4),
    dense: (x, w) => conv2d(x, w, normal([6], 4), { stride: [2, 1], padding: [1, 0] }),
    apply: (x, w) => w.apply(x, { op: 'conv2d', bias: normal([6], 4), stride: [2, 1], padding: [1, 0] }),
  },
  table: {
    x: () => tensor(new Int32Array([0, 8, 3, 3, 1, 5]), [2, 3]),
    bias: () => null,
    dense: (x, w) => embedding(w, x),
    apply: (x, w) => w.apply(x, { op: 'lookup' }),
  },
}
