/** Sequences of their own lengths, turned around. */
import { sizeOf, stridesOf } from '../../base/shape.js'
import { defineOnnxOp, intAttribute } from '../define.js'
import { valueType } from '../infer.js'
import { data, pick } from './move.js'
import { list } from './values.js'

defineOnnxOp('ReverseSequence', {
  since: [10],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [x, lengths], node) => {
    const v = data(ctx, x)
    const [time, batch] = [intAttribute(node, 'time_axis', 0), intAttribute(node, 'batch_axis', 1)]
    if (!((time === 0 && batch === 1) || (time === 1 && batch === 0)))
      ctx.fail('ERR_OPTION', `time_axis and batch_axis must be 0 and 1, got ${time} and ${batch}`)
    const n = list(ctx, lengths)
    const [t, b] = [v.shape[time]!, v.shape[batch]!]
    if (n.length !== b || n.some((s) => s < 0 || s > t))
      ctx.fail('ERR_SHAPE', `sequence_lens must be ${b} numbers in [0, ${t}], got [${n.join(',')}]`)
    const strides = stridesOf(v.shape)
    const positions = Int32Array.from({ length: sizeOf(v.shape) }, (_, i) => {
      const at = Math.floor(i / strides[time]!) % t
      const length = n[Math.floor(i / strides[batch]!) % b]!
      return at < length ? i + (length - 1 - 2 * at) * strides[time]! : i
    })
    return pick(ctx, v, v.shape, positions)
  },
})
