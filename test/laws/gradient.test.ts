/** Every gradient rule against finite differences, first and second order, in double precision. */
import { describe, expect, it } from 'vitest'
import { opRows } from '../../ts/native/ops.gen.js'
import { scope } from '../../ts/tensor/index.js'
import { cases, differentiable, singleOnly } from './cases.js'
import { checkFirst, checkSecond, double, single } from './gradcheck.js'

describe('the table of ops', () => {
  it('has a definition for every row, with samples of the right arity', () => {
    expect(cases.map((c) => c.name)).toEqual(opRows.map((r) => r.name))
    scope(() => {
      for (const c of cases) {
        const samples = c.samples(singleOnly.has(c.name) ? 'f32' : 'f64')
        expect(samples.length, c.name).toBeGreaterThan(0)
        for (const args of samples) expect(args.length, c.name).toBe(c.row.params.length)
      }
    })
  })

  it('has exactly these ops without a gradient', () => {
    expect(cases.filter((c) => !c.op.grad).map((c) => c.name)).toEqual([
      'sign',
      'step',
      'round',
      'greater',
      'equal',
      'one_hot',
      'assign',
      'argmax',
      'count_nonfinite',
      'count_nonzero',
      'layer_norm_grad',
      'random_uniform',
      'random_normal',
      'sgd_step',
      'adamw_step',
      'topk_mask',
      'mask_count',
      'mask_unpack',
      'mask_pack',
      'range_rows',
      'quantize_rows',
      'dequantize_rows',
      'pack_bits',
      'unpack_bits',
      'histogram',
      'qgemm_pack',
      'qgemm_s32',
      'qlinear',
      'qconv2d',
      'csr_from_dense',
      'csr_to_dense',
      'sparse_encode',
      'sparse_decode',
    ])
  })
})

describe.each(cases.filter((c) => c.op.grad).map((c) => [c.name, c] as const))('%s', (name, c) => {
  const dtype = singleOnly.has(name) ? 'f32' : 'f64'
  const tolerance = dtype === 'f64' ? double : single
  const count = scope(() => c.samples(dtype).length)
  for (let s = 0; s < count; s++) {
    const inputsOf = (args: readonly unknown[]): number[] => scope(() => differentiable(c, args))

    it(`sample ${s}: first derivatives`, () =>
      scope(() => {
        const args = c.samples(dtype)[s]!
        // A cast to integers and the like: nothing to differentiate in this sample.
        const inputs = inputsOf(args)
        if (inputs.length > 0) checkFirst(c, args, inputs, tolerance, 100 + s)
        else expect(name).toBe('cast')
      }))

    it(`sample ${s}: second derivatives`, () =>
      scope(() => {
        const args = c.samples(dtype)[s]!
        const inputs = inputsOf(args)
        if (inputs.length > 0) checkSecond(c, args, inputs, tolerance, 200 + s)
        else expect(name).toBe('cast')
      }))
  }
})
