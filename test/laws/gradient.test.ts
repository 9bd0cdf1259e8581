/** Every gradient rule against finite differences, first and second order, in double precision. */
import { describe, expect, it } from 'vitest'
import { opRows } from '../../ts/native/ops.gen.js'
import { scope, type Tensor } from '../../ts/tensor/index.js'
import { cases, differentiable, results, singleOnly } from './cases.js'
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
      'nonlinear_grad',
      'greater',
      'equal',
      'one_hot',
      'assign',
      'argmax',
      'count_nonfinite',
      'count_nonzero',
      'matmul_half',
      'gemm_pack',
      'linear_packed',
      'bf16_pack',
      'linear_bf16',
      'conv2d_last_pack',
      'conv2d_last',
      'conv2d_winograd_pack',
      'conv2d_winograd',
      'pool2d_last',
      'attention_grad',
      'layer_norm_grad',
      'rms_norm_grad',
      'batch_norm_grad',
      'cross_entropy_grad',
      'ctc_loss_grad',
      'lstm_grad',
      'gru_grad',
      'random_uniform',
      'random_normal',
      'sgd_step',
      'adamw_step',
      'adam_step',
      'rmsprop_step',
      'lamb_step',
      'inner_product',
      'axpby',
      'orthogonalize',
      'topk_mask',
      'topk_mask_rows',
      'threshold_mask',
      'nm_mask',
      'mask_slice',
      'mask_count',
      'mask_unpack',
      'mask_pack',
      'range_rows',
      'quantize_rows',
      'dequantize_rows',
      'fake_quantize_rows',
      'fake_quantize_rows_grad',
      'pack_bits',
      'unpack_bits',
      'block_encode',
      'block_decode',
      'histogram',
      'qgemm_pack',
      'qgemm_s32',
      'qlinear',
      'qlinear_dynamic',
      'qmatmul',
      'qmatmul_fixed',
      'qconv2d_pack',
      'qconv2d_last',
      'qconv2d',
      'wgemm_pack',
      'wgemm_unpack',
      'mask_indices',
      'rows_dot',
      'ternary_pack',
      'ternary_unpack',
      'dual_linear',
      'dual_lstm',
      'dual_gru',
      'csr_from_dense',
      'csr_to_dense',
      'csr_group',
      'bsr_from_dense',
      'bsr_to_dense',
      'bitmask_from_dense',
      'bitmask_to_dense',
      'nm_from_dense',
      'nm_to_dense',
      'sparse_encode',
      'sparse_decode',
    ])
  })
})

describe.each(cases.filter((c) => c.op.grad).map((c) => [c.name, c] as const))('%s', (name, c) => {
  const dtype = singleOnly.has(name) ? 'f32' : 'f64'
  const tolerance = dtype === 'f64' ? double : single
  const count = scope(() => c.samples(dtype).length)

  it.each(Array.from({ length: count }, (_, s) => [s]))('sample %i: first and second derivatives', (s) =>
    scope(() => {
      const args = c.samples(dtype)[s]!
      const inputs = scope(() => differentiable(c, args)).map((i) => ({ name: c.row.params[i]![1], x: args[i] as Tensor }))
      // A cast to or from integers has nothing to differentiate.
      if (inputs.length === 0) {
        expect(name).toBe('cast')
        return
      }
      const subject = { where: `${name}, sample ${s}`, inputs, f: () => results(c, args)[0]! }
      checkFirst(subject, tolerance, 100 + s)
      checkSecond(subject, tolerance, 200 + s)
    }),
  )
})
