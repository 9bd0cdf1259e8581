/** Softmax and LogSoftmax. Before opset 13 they ran over all dimensions from `axis` on, as one; since then along `axis` alone. */
import { logSoftmax, reshape, softmax } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute } from '../define.js'
import { axisOf, sameType } from '../infer.js'
import { normalizesOthers } from './channels.js'

function row(name: string, native: (x: Tensor, axis: number) => Tensor): void {
  defineOnnxOp(name, {
    since: [1, 11, 13],
    inputs: [1, 1],
    channels: normalizesOthers,
    infer: (ctx, inputs, node) => {
      const rank = inputs[0]?.shape?.length
      if (rank !== undefined && rank > 0)
        axisOf(ctx, intAttribute(node, 'axis', ctx.version >= 13 ? -1 : 1), rank + (ctx.version >= 13 ? 0 : 1))
      return sameType(ctx, inputs)
    },
    run: (ctx, [input], node) => {
      const x = ctx.tensor(input)
      if (ctx.version >= 13) return native(x, axisOf(ctx, intAttribute(node, 'axis', -1), x.rank))
      const axis = intAttribute(node, 'axis', 1)
      const from = axis === x.rank ? axis : axisOf(ctx, axis, x.rank)
      if (from === x.rank - 1) return native(x, from)
      const width = x.shape.slice(from).reduce((n, d) => n * d, 1)
      return reshape(native(reshape(x, [x.size / Math.max(1, width), width]), -1), x.shape)
    },
  })
}
row('Softmax', softmax)
row('LogSoftmax', logSoftmax)
