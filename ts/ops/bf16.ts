/**
 * Products in bf16 (the upper half of an f32: 8 bits of mantissa) with sums in f32: half the bytes of an f32 weight, and the form that matrix
 * instructions take. Constant to the tape.
 */
import { defineOp } from '../autograd/index.js'
import { callOp, type Tensor } from '../tensor/index.js'
import { cast } from './memory.js'

/** w f32 or bf16 [N, K] -> the layout that linearBf16 reads, rounded to nearest even. Opaque: not to be stored. */
export const bf16Pack = defineOp('bf16_pack', {
  grad: null,
  samples: (s) => [[s.normal(3, 5)], [s.normal(40, 33)], [cast(s.normal(2, 3), 'bf16')]],
})

const packed = (w: Tensor): Tensor => callOp('bf16_pack', [w])[0]!

/** x f32 or bf16 [..., K] -> dtype (f32 or bf16) [..., out] = act(x w^T + bias), x rounded to bf16, w from bf16Pack. */
export const linearBf16 = defineOp('linear_bf16', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => [
    [s.normal(2, 5), packed(s.normal(3, 5)), s.normal(3), 3, 'none', 'f32'],
    [s.normal(2, 2, 4), packed(s.normal(5, 4)), null, 5, 'gelu', 'bf16'],
    [cast(s.normal(3, 4), 'bf16'), packed(s.normal(2, 4)), s.normal(2), 2, 'relu', 'f32'],
  ],
})
