/** Results may be computed into memory that exists: the same bits, nothing allocated, and nothing accepted that does not fit exactly. */
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { memory } from '../../ts/native/devices.js'
import { add, linear, matmul, mul, sum } from '../../ts/ops/index.js'
import { callOp, callOpInto, scope, tensor, Tensor, zeros } from '../../ts/tensor/index.js'
import { bits, cases, singleOnly } from './cases.js'

/** Ops whose result shapes come from the data: given memory is refused. */
const dataSized = new Set(['csr_from_dense', 'bsr_from_dense', 'bitmask_from_dense', 'mask_indices', 'sparse_encode'])

/** A tensor like t, every byte 0x7b. */
function dirty(t: Tensor): Tensor {
  const made = zeros(t.shape, t.dtype)
  made.write(new Uint8Array(t.bytes).fill(0x7b))
  return made
}

describe.each(cases.filter((c) => !c.inPlace).map((c) => [c.name, c] as const))('%s', (name, c) => {
  it('gives the same bits in given memory', () =>
    scope(() => {
      for (const dtype of singleOnly.has(name) ? (['f32'] as const) : (['f32', 'f64'] as const))
        for (const args of c.samples(dtype)) {
          const want = callOp(name, args)
          const outs = want.map(dirty)
          const before = memory()
          if (dataSized.has(name)) {
            expect(() => callOpInto(name, args, outs)).toThrowError(
              expect.objectContaining({ code: expect.stringMatching(/ERR_SHAPE|ERR_UNSUPPORTED/) as string }),
            )
            continue
          }
          callOpInto(name, args, outs)
          expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes })
          expect(outs.map(bits)).toEqual(want.map(bits))
        }
    }))

  it('refuses memory that does not fit or that it reads', () =>
    scope(() => {
      const args = c.samples('f32')[0]!
      const want = callOp(name, args)
      const first = want[0]!
      const others = want.slice(1).map(dirty)
      const refused = (out: Tensor, code: string): void =>
        expect(() => callOpInto(name, args, [out, ...others])).toThrowError(expect.objectContaining({ code }))
      refused(zeros([...first.shape, 2], first.dtype), 'ERR_SHAPE')
      refused(zeros(first.shape, first.dtype === 'f64' ? 'i32' : 'f64'), 'ERR_SHAPE')
      const gone = dirty(first)
      gone.dispose()
      refused(gone, 'ERR_DISPOSED')
      const read = args.find((a): a is Tensor => a instanceof Tensor && a.contiguous && a.size > 0)
      if (read) refused(read.alias(), 'ERR_OPTION')
      if (first.size > 1 && first.rank > 0) {
        const wide = zeros([...first.shape, 2], first.dtype)
        refused(wide.view(first.shape, wide.strides.slice(0, -1)), 'ERR_SHAPE')
      }
    }))
})

describe('into', () => {
  it('is a method of ops and of the matrix products', () =>
    scope(() => {
      const a = tensor([
        [1, 2],
        [3, 4],
      ])
      const out = zeros([2, 2])
      expect(add.into(out, a, a)).toBe(out)
      expect(out.toArray()).toEqual([
        [2, 4],
        [6, 8],
      ])
      expect(matmul.into(out, a, a, false, false).toArray()).toEqual([
        [7, 10],
        [15, 22],
      ])
      expect(linear.into(out, a, a, null).toArray()).toEqual([
        [5, 11],
        [11, 25],
      ])
    }))

  it('cannot be differentiated: what is tracked may not be overwritten or lost', () =>
    scope(() => {
      const x = tensor([1, 2])
      const out = zeros([2])
      expect(() => grad(() => sum(add.into(out, x, x), [], false), [x])).toThrowError(expect.objectContaining({ code: 'ERR_OPTION' }))
      expect(() => grad(() => (mul.into(x, out, out), sum(x, [], false)), [x])).toThrowError(
        expect.objectContaining({ code: 'ERR_OPTION' }),
      )
      const other = zeros([2])
      expect(grad(() => (mul.into(other, out, out), sum(x, [], false)), [x])[0]!.toArray()).toEqual([1, 1])
    }))
})
