/** Normalisations: batch, instance, layer, group, RMS. */
import {
  add,
  batchNorm,
  batchNormInference,
  groupNorm,
  instanceNorm,
  layerNorm,
  mean,
  mul,
  reciprocal,
  reshape,
  rmsNorm,
  scaleShift,
  sqrt,
  sub,
} from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import { defineOnnxOp, floatAttribute, intAttribute, type RunContext, type Value } from '../define.js'
import { axisOf, sameType, valueType } from '../infer.js'

const optional = (ctx: RunContext, v: Value | undefined): Tensor | null => (v === undefined ? null : ctx.tensor(v))

defineOnnxOp('BatchNormalization', {
  since: [7, 9, 14, 15],
  inputs: [5, 5],
  infer: (ctx, [x, gamma, ...rest], node) => {
    const channels = x?.shape?.[1]
    for (const t of [gamma, ...rest])
      if (t?.shape && (t.shape.length !== 1 || (typeof channels === 'number' && typeof t.shape[0] === 'number' && t.shape[0] !== channels)))
        ctx.fail('ERR_SHAPE', `scale, bias, mean and variance must be [${channels ?? 'C'}], got [${t.shape.join(',')}]`)
    const statistics = valueType(gamma?.dtype, gamma?.shape)
    return [...sameType(ctx, [x]), ...node.outputs.slice(1).map(() => statistics)]
  },
  run: (ctx, inputs, node) => {
    const [x, gamma, beta, mean, variance] = inputs.map((v) => ctx.tensor(v)) as [Tensor, Tensor, Tensor, Tensor, Tensor]
    const eps = floatAttribute(node, 'epsilon', 1e-5)
    if (intAttribute(node, 'training_mode', 0) === 0) return batchNormInference(x, { mean, variance }, gamma, beta, eps)
    const momentum = floatAttribute(node, 'momentum', 0.9)
    const out = batchNorm(x, gamma, beta, eps)
    const move = (running: Tensor, batch: Tensor): Tensor => add(scaleShift(running, momentum, 0), scaleShift(batch, 1 - momentum, 0))
    return [out.y, move(mean, out.mean), move(variance, out.variance)]
  },
})

defineOnnxOp('InstanceNormalization', {
  since: [6, 22],
  inputs: [3, 3],
  infer: sameType,
  run: (ctx, [x, gamma, beta], node) =>
    instanceNorm(ctx.tensor(x), ctx.tensor(gamma), ctx.tensor(beta), floatAttribute(node, 'epsilon', 1e-5)),
})

defineOnnxOp('GroupNormalization', {
  since: [18, 21],
  inputs: [3, 3],
  infer: sameType,
  run: (ctx, inputs, node) => {
    const x = ctx.tensor(inputs[0])
    const groups = intAttribute(node, 'num_groups')
    const [gamma, beta] = [ctx.tensor(inputs[1]), ctx.tensor(inputs[2])]
    if (ctx.version >= 21) return groupNorm(x, groups, gamma, beta, floatAttribute(node, 'epsilon', 1e-5))
    // Before opset 21 scale and bias were given per group.
    const y = groupNorm(x, groups, null, null, floatAttribute(node, 'epsilon', 1e-5))
    const [b, c] = x.shape as [number, number]
    if (gamma.size !== groups || beta.size !== groups) ctx.fail('ERR_SHAPE', `scale and bias must be [${groups}], got ${gamma} and ${beta}`)
    const grouped = reshape(y, [b, groups, c / groups, x.size / (b * c)])
    return reshape(add(mul(grouped, reshape(gamma, [1, groups, 1, 1])), reshape(beta, [1, groups, 1, 1])), x.shape)
  },
})

/** x as rows of what is normalised together: the dimensions from `axis` on. */
function asRows(x: Tensor, axis: number): Tensor {
  const width = x.shape.slice(axis).reduce((n, d) => n * d, 1)
  return axis === x.rank - 1 ? x : reshape(x, [...x.shape.slice(0, axis), width])
}
const flat = (t: Tensor | null): Tensor | null => (t && t.rank !== 1 ? reshape(t, [t.size]) : t)

defineOnnxOp('LayerNormalization', {
  since: [17],
  inputs: [2, 3],
  infer: (ctx, [x], node) => {
    const [y] = sameType(ctx, [x])
    const axis = x?.shape && axisOf(ctx, intAttribute(node, 'axis', -1), x.shape.length)
    const statistics = valueType(
      'f32',
      x?.shape?.map((d, i) => (i < axis! ? d : 1)),
    )
    return [y!, ...node.outputs.slice(1).map(() => statistics)]
  },
  run: (ctx, inputs, node) => {
    const x = ctx.tensor(inputs[0])
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), x.rank)
    const eps = floatAttribute(node, 'epsilon', 1e-5)
    const width = x.shape.slice(axis).reduce((n, d) => n * d, 1)
    const [gamma, beta] = [flat(optional(ctx, inputs[1])), flat(optional(ctx, inputs[2]))]
    if ((gamma && gamma.size !== width) || (beta && beta.size !== width))
      ctx.fail('ERR_UNSUPPORTED', `scale and bias must have the normalised shape (${width} elements), got ${gamma} and ${beta}`)
    const y = reshape(layerNorm(asRows(x, axis), gamma, beta, eps), x.shape)
    if (!node.outputs[1] && !node.outputs[2]) return y
    const axes = x.shape.map((_, i) => i).slice(axis)
    const centre = mean(x, axes, true)
    const centred = sub(x, centre)
    return [y, centre, reciprocal(sqrt(scaleShift(mean(mul(centred, centred), axes, true), 1, eps)))]
  },
})

defineOnnxOp('RMSNormalization', {
  since: [23],
  inputs: [2, 2],
  infer: sameType,
  run: (ctx, inputs, node) => {
    const x = ctx.tensor(inputs[0])
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), x.rank)
    return reshape(rmsNorm(asRows(x, axis), flat(ctx.tensor(inputs[1])), floatAttribute(node, 'epsilon', 1e-5)), x.shape)
  },
})
