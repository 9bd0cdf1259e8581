/** Operators that ONNX Runtime's optimizer puts into transformers: fused products, activations with bias, normalizations with residuals, embeddings. */
import {
  add,
  cast,
  gather,
  gelu,
  geluTanh,
  layerNorm,
  matmul,
  mul,
  permute,
  reshape,
  rmsNorm,
  scaleShift,
  sigmoid,
  silu,
  sum,
} from '../../ops/index.js'
import { tensor, zeros, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, floatAttribute, intAttribute, type RunContext, type Value, type ValueType } from '../define.js'
import { broadcastDims, sameType, valueType } from '../infer.js'
import { multipliesHeads } from './channels-attention.js'
import { nativeIndex } from './move.js'

const domain = 'com.microsoft'

/** a and b with their last two dimensions swapped where asked. */
const swapped = (t: Tensor, swap: boolean): Tensor => {
  if (!swap || t.rank < 2) return t
  const order = t.shape.map((_, i) => i)
  order.push(...order.splice(-2).reverse())
  return permute(t, order)
}

defineOnnxOp('FusedMatMul', {
  domain,
  since: [1],
  inputs: [2, 2],
  channels: multipliesHeads,
  infer: (ctx, [a, b], node) => {
    const [p, q] = [a?.shape, b?.shape]
    if (!p || !q || p.length < 2 || q.length < 2) return [valueType(a?.dtype)]
    const rows = p.at(intAttribute(node, 'transA', 0) !== 0 ? -1 : -2)!
    const columns = q.at(intAttribute(node, 'transB', 0) !== 0 ? -2 : -1)!
    const lead = broadcastDims(ctx, [p.slice(0, -2), q.slice(0, -2)])
    return [valueType(a?.dtype, lead && [...lead, rows, columns])]
  },
  run: (ctx, [a, b], node) => {
    if (intAttribute(node, 'transBatchA', 0) !== 0 || intAttribute(node, 'transBatchB', 0) !== 0)
      ctx.fail('ERR_UNSUPPORTED', 'transBatchA and transBatchB are not supported')
    const [x, y] = [ctx.tensor(a), ctx.tensor(b)]
    const [swapA, swapB] = [intAttribute(node, 'transA', 0) !== 0, intAttribute(node, 'transB', 0) !== 0]
    const both = x.rank >= 2 && y.rank >= 2
    const product = both ? matmul(x, y, swapA, swapB) : matmul(swapped(x, swapA), swapped(y, swapB))
    const alpha = floatAttribute(node, 'alpha', 1)
    return alpha === 1 ? product : scaleShift(product, alpha)
  },
})

const withBias = (ctx: RunContext, x: Value | undefined, bias: Value | undefined): Tensor => {
  const t = ctx.tensor(x)
  return bias === undefined ? t : add(t, ctx.tensor(bias))
}
defineOnnxOp('BiasGelu', { domain, since: [1], inputs: [2, 2], infer: sameType, run: (ctx, [x, bias]) => gelu(withBias(ctx, x, bias)) })
defineOnnxOp('FastGelu', { domain, since: [1], inputs: [1, 2], infer: sameType, run: (ctx, [x, bias]) => geluTanh(withBias(ctx, x, bias)) })

defineOnnxOp('SwiGLU', {
  since: [28],
  inputs: [2, 2],
  infer: sameType,
  run: (ctx, [a, b], node) => {
    const [x, y] = [ctx.tensor(a), ctx.tensor(b)]
    const alpha = floatAttribute(node, 'alpha', 1)
    return mul(alpha === 1 ? silu(x) : mul(x, sigmoid(scaleShift(x, alpha))), y)
  },
})

/** Types of y, the two statistics and the sum. */
const normTypes = (x: ValueType | undefined): ValueType[] => {
  const y = valueType(x?.dtype, x?.shape)
  const statistics = valueType('f32', x?.shape && [...x.shape.slice(0, -1), 1])
  return [y, statistics, statistics, y]
}

/** The residual sum of SkipLayerNormalization: bias and skip may have fewer dimensions. */
function residual(ctx: RunContext, x: Value | undefined, skip: Value | undefined, bias: Value | undefined): Tensor {
  const s = add(ctx.tensor(x), ctx.tensor(skip))
  return bias === undefined ? s : add(s, ctx.tensor(bias))
}
const noStatistics = (ctx: RunContext): void => {
  if (ctx.node.outputs[1] || ctx.node.outputs[2]) ctx.fail('ERR_UNSUPPORTED', 'mean and deviation as outputs are not supported')
}

defineOnnxOp('SkipLayerNormalization', {
  domain,
  since: [1],
  inputs: [3, 5],
  infer: (_, [x]) => normTypes(x),
  run: (ctx, [x, skip, gamma, beta, bias], node) => {
    noStatistics(ctx)
    const s = residual(ctx, x, skip, bias)
    const y = layerNorm(s, ctx.tensor(gamma), beta === undefined ? null : ctx.tensor(beta), floatAttribute(node, 'epsilon', 1e-12))
    return node.outputs[3] ? [y, y, y, s] : y
  },
})

defineOnnxOp('SkipSimplifiedLayerNormalization', {
  domain,
  since: [1],
  inputs: [3, 4],
  infer: (_, [x]) => normTypes(x),
  run: (ctx, [x, skip, gamma, bias], node) => {
    noStatistics(ctx)
    const s = residual(ctx, x, skip, bias)
    const y = rmsNorm(s, ctx.tensor(gamma), floatAttribute(node, 'epsilon', 1e-12))
    return node.outputs[3] ? [y, y, y, s] : y
  },
})

// ONNX Runtime writes this one into ONNX's own domain.
defineOnnxOp('SimplifiedLayerNormalization', {
  since: [1],
  inputs: [2, 2],
  infer: (_, [x]) => normTypes(x).slice(0, 2),
  run: (ctx, [x, gamma], node) => {
    const t = ctx.tensor(x)
    const axis = intAttribute(node, 'axis', -1)
    if (axis !== -1 && axis !== t.rank - 1) ctx.fail('ERR_UNSUPPORTED', `axis ${axis}: only the last one is supported`)
    if (node.outputs[1]) ctx.fail('ERR_UNSUPPORTED', 'the deviation as output is not supported')
    return rmsNorm(t, ctx.tensor(gamma), floatAttribute(node, 'epsilon', 1e-5))
  },
})

defineOnnxOp('EmbedLayerNormalization', {
  domain,
  since: [1],
  inputs: [7, 9],
  infer: (_, [ids, , words]) => {
    const y = valueType(words?.dtype, ids?.shape && words?.shape && [...ids.shape, words.shape[1]!])
    return [y, valueType('i32', ids?.shape && [ids.shape[0]!]), y]
  },
  run: (ctx, [ids, segments, words, positions, kinds, gamma, beta, mask, where], node) => {
    const table = ctx.tensor(words)
    const index = nativeIndex(ctx, ids, table.shape[0]!)
    const [b, t] = index.shape as [number, number]
    const places = ctx.tensor(positions)
    const order =
      where === undefined
        ? tensor(
            Int32Array.from({ length: t }, (_, i) => i),
            [1, t],
          )
        : nativeIndex(ctx, where, places.shape[0]!)
    let s = add(gather(table, index), gather(places, order))
    if (segments !== undefined && kinds !== undefined) {
      const k = ctx.tensor(kinds)
      s = add(s, gather(k, nativeIndex(ctx, segments, k.shape[0]!)))
    }
    const y = layerNorm(s, ctx.tensor(gamma), ctx.tensor(beta), floatAttribute(node, 'epsilon', 1e-12))
    const counts = mask === undefined ? zeros([b], 'i32') : cast(sum(cast(ctx.tensor(mask), 'f32'), [1]), 'i32')
    return [reshape(y, [b, t, table.shape[1]!]), counts, s]
  },
})
