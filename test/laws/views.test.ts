/** Strided views and stretched tensors give what row-major copies of them give, bit for bit. */
import { describe, expect, it } from 'vitest'
import { dtypeInfo } from '../../ts/base/dtype.js'
import { sizeOf, stridesOf } from '../../ts/base/shape.js'
import { callOp, scope, tensor, Tensor } from '../../ts/tensor/index.js'
import { isTersorError } from '../../ts/base/errors.js'
import type { OpName } from '../../ts/native/ops.gen.js'
import { bits, cases, numbers, results, singleOnly, type OpCase } from './cases.js'
import { code } from '../tensor/code.js'

/** The same elements at `strides` in a larger block; what lies between is 101, which would show. */
function spread(t: Tensor, strides: readonly number[], offset: number): Tensor {
  const reach = t.size === 0 ? 0 : t.shape.reduce((n, d, i) => n + (d - 1) * strides[i]!, 0)
  const block = new dtypeInfo[t.dtype].array(offset + reach + 3)
  if (block instanceof BigInt64Array) block.fill(101n)
  else block.fill(101)
  const values = t.read()
  const packed = stridesOf(t.shape)
  for (let i = 0; i < t.size; i++) {
    const at = t.shape.reduce((o, d, k) => o + (Math.floor(i / packed[k]!) % d) * strides[k]!, offset)
    block[at] = values[i]!
  }
  return tensor(block, [block.length], t.dtype).view(t.shape, strides, offset)
}

const layouts: Readonly<Record<string, (t: Tensor) => Tensor>> = {
  // Outermost dimension fastest, as a transposed matrix.
  reversed: (t) => spread(t, stridesOf([...t.shape].reverse()).reverse(), 0),
  // Every second element of a wider block that begins three elements in: also a base that is not aligned.
  gapped: (t) =>
    spread(
      t,
      stridesOf(t.shape).map((s) => 2 * s),
      3,
    ),
  // A window of a larger tensor.
  window: (t) => spread(t, stridesOf(t.shape.map((d) => d + 1)), 1),
}

/** Long sums that follow the memory: another layout may add in another order. Their views agree to a few roundings instead. */
const followMemory: ReadonlySet<OpName> = new Set(['sum', 'matmul', 'linear', 'linear_fused', 'gemm'])

/** Weights that an op made for these: opaque, so no view of them is taken. */
const packedFor: ReadonlySet<string> = new Set([
  'qlinear',
  'qlinear_dynamic',
  'qmatmul',
  'qmatmul_fixed',
  'qgemm_s32',
  'qconv2d',
  'qconv2d_last',
  'wgemm',
  'wgemm_unpack',
  'linear_bf16',
  'linear_packed',
  'conv2d_last',
  'conv2d_winograd',
  'ternary_unpack',
  'ternary_project',
])
const opaqueParams: ReadonlySet<string> = new Set(['packed', 'projection', 'projectionX', 'projectionH', 'little', 'littleX', 'littleH'])
const isOpaque = (c: OpCase, param: string): boolean => (param !== 'packed' ? opaqueParams.has(param) : packedFor.has(c.name))

const run = (c: OpCase, args: readonly unknown[]): readonly Tensor[] => results(c, args)

function same(c: OpCase, where: string, got: readonly Tensor[], want: readonly Tensor[]): void {
  if (!followMemory.has(c.name)) {
    expect(got.map(bits), where).toEqual(want.map(bits))
    return
  }
  got.forEach((g, r) => {
    const w = numbers(want[r]!)
    const bound = (g.dtype === 'f32' ? 2 ** -22 : 2 ** -51) * w.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    numbers(g).forEach((v, i) => expect(Math.abs(v - w[i]!), where).toBeLessThanOrEqual(bound))
  })
}

const takesTensors = (c: OpCase): boolean => !c.inPlace && c.row.params.some(([kind, param]) => kind === 'T' && !isOpaque(c, param))

describe.each(cases.filter(takesTensors).map((c) => [c.name, c] as const))('%s', (name, c) => {
  const dtype = singleOnly.has(name) ? 'f32' : 'f64'
  const tensors = c.row.params.flatMap(([kind, param], i) => ((kind === 'T' || kind === 'O') && !isOpaque(c, param) ? [i] : []))

  it.each(Object.keys(layouts))('%s views equal contiguous inputs', (layout) =>
    scope(() => {
      for (const type of new Set([dtype, 'f32'] as const))
        c.samples(type).forEach((args, s) => {
          const want = run(c, args)
          for (const i of tensors) {
            if (!(args[i] instanceof Tensor)) continue
            const view = layouts[layout]!(args[i])
            same(c, `sample ${s}, ${c.row.params[i]![1]}, ${type}`, run(c, args.with(i, view)), want)
          }
          const all = args.map((a, i) => (a instanceof Tensor && tensors.includes(i) ? layouts[layout]!(a) : a))
          same(c, `sample ${s}, all, ${type}`, run(c, all), want)
        })
    }),
  )

  it('stretched inputs (stride 0) equal their copies', () =>
    scope(() => {
      let tried = 0
      for (const args of c.samples(dtype))
        for (const i of tensors) {
          const t = args[i]
          if (!(t instanceof Tensor)) continue
          for (let axis = 0; axis < t.rank; axis++) {
            const stretched = t.view(
              t.shape,
              t.strides.map((s, k) => (k === axis ? 0 : s)),
            )
            const copied = callOp('copy', [stretched])[0]!
            // Repeated numbers may make an argument invalid (row offsets, say): then both forms must say so.
            const outcome = (a: readonly unknown[]): readonly Tensor[] | string => {
              try {
                return run(c, a)
              } catch (e) {
                if (!isTersorError(e)) throw e
                return e.code
              }
            }
            const [got, want] = [outcome(args.with(i, stretched)), outcome(args.with(i, copied))]
            if (typeof got === 'string' || typeof want === 'string') expect(got).toEqual(want)
            else same(c, c.row.params[i]![1], got, want)
            tried++
          }
        }
      expect(tried).toBeGreaterThan(0)
    }))

  if (c.row.params.some(([, param]) => isOpaque(c, param)))
    it('refuses strided packed weights', () =>
      scope(() => {
        const args = c.samples('f32')[0]!
        const at = c.row.params.findIndex(([, param]) => isOpaque(c, param))
        for (const view of [layouts['gapped']!(args[at] as Tensor), (args[at] as Tensor).view((args[at] as Tensor).shape, [0])])
          expect(() => callOp(name, args.with(at, view))).toThrowError(code('ERR_OPTION'))
      }))
})

describe.each(cases.filter((c) => c.inPlace).map((c) => [c.name, c] as const))('%s (in place)', (_, c) => {
  it('refuses strided targets and takes strided inputs', () =>
    scope(() => {
      c.row.params.forEach(([kind, name], i) => {
        const [args, same] = [c.samples('f64')[0]!, c.samples('f64')[0]!]
        if (!(args[i] instanceof Tensor)) return
        const viewed = args.with(i, layouts['reversed']!(args[i]))
        if (kind === 'M') {
          expect(() => callOp(c.name, viewed), name).toThrowError(code('ERR_SHAPE'))
          return
        }
        callOp(c.name, viewed)
        callOp(c.name, same)
        expect(bits(args[0] as Tensor)).toBe(bits(same[0] as Tensor))
      })
    }))
})

it('the layouts are what they claim', () =>
  scope(() => {
    const t = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ])
    for (const make of Object.values(layouts)) {
      const view = make(t)
      expect(view.toArray()).toEqual([
        [1, 2, 3],
        [4, 5, 6],
      ])
      expect(view.contiguous).toBe(false)
      expect(sizeOf(view.shape)).toBe(6)
    }
  }))
