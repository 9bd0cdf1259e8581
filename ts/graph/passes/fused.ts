/** Operators of the domain 'tersor' that passes put in place of patterns. They are computed with the ops that layers written by hand use. */
import { attentionOp } from '../../ops/attention.js'
import { gelu, geluTanh, hardSwish, layerNorm, linear, mul, permute, reshape, rmsNorm, scaleShift, sigmoid, silu } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  floatAttribute,
  intAttribute,
  onnxOp,
  stringAttribute,
  versionFor,
  type InferContext,
  type RunContext,
  type Value,
  type ValueType,
} from '../define.js'
import type { Attribute, GraphNode } from '../graph.js'
import { sameType, valueType } from '../infer.js'
import { attends } from '../onnx/channels-attention.js'
import { keepsElements } from '../onnx/channels.js'

const domain = 'tersor'
const optional = (ctx: RunContext, v: Value | undefined): Tensor | null => (v === undefined ? null : ctx.tensor(v))

export const activationFunctions: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  gelu: (x) => gelu(x),
  geluTanh: (x) => geluTanh(x),
  quickGelu: (x) => mul(x, sigmoid(scaleShift(x, 1.702))),
  silu: (x) => silu(x),
  hardSwish: (x) => hardSwish(x),
}

defineOnnxOp('Activation', {
  domain,
  since: [1],
  inputs: [1, 1],
  infer: sameType,
  channels: keepsElements,
  run: (ctx, [x], node) => {
    const name = stringAttribute(node, 'function')
    const f = Object.hasOwn(activationFunctions, name) ? activationFunctions[name] : undefined
    return f ? f(ctx.tensor(x)) : ctx.fail('ERR_MODEL_FORMAT', `no function ${JSON.stringify(name)}`)
  },
})

/** x as rows of the last `axes` dimensions. */
const asRows = (x: Tensor, axes: number): Tensor => {
  const lead = x.shape.slice(0, x.rank - axes)
  return axes === 1 ? x : reshape(x, [...lead, x.shape.slice(x.rank - axes).reduce((a, b) => a * b, 1)])
}
const flat = (t: Tensor | null): Tensor | null => (t && t.rank !== 1 ? reshape(t, [t.size]) : t)

defineOnnxOp('LayerNormalization', {
  domain,
  since: [1],
  inputs: [1, 3],
  infer: sameType,
  run: (ctx, [input, gamma, beta], node) => {
    const x = ctx.tensor(input)
    const rows = asRows(x, intAttribute(node, 'axes', 1))
    return reshape(layerNorm(rows, flat(optional(ctx, gamma)), flat(optional(ctx, beta)), floatAttribute(node, 'epsilon')), x.shape)
  },
})

defineOnnxOp('RmsNormalization', {
  domain,
  since: [1],
  inputs: [1, 2],
  infer: sameType,
  run: (ctx, [input, gamma], node) => {
    const x = ctx.tensor(input)
    return reshape(rmsNorm(asRows(x, 1), flat(optional(ctx, gamma)), floatAttribute(node, 'epsilon')), x.shape)
  },
})

/** q, k, v [B, length, heads D] (with `heads`) or [B, heads, length, D]; the mask is added to the scores [B, heads, T, S]. */
defineOnnxOp('Attention', {
  domain,
  since: [1],
  inputs: [3, 4],
  channels: attends({ queries: 'heads', keys: 'heads' }),
  infer: (_, [q, , v]): ValueType[] => [valueType(q?.dtype, q?.shape && v?.shape && [...q.shape.slice(0, -1), v.shape.at(-1)!])],
  run: (ctx, [q, k, v, mask], node) => {
    const [x, y, z] = [ctx.tensor(q), ctx.tensor(k), ctx.tensor(v)]
    const heads = x.rank === 3 ? intAttribute(node, 'heads', 1) : x.shape[1]!
    return attentionOp(x, y, z, optional(ctx, mask), null, heads, floatAttribute(node, 'scale'), false, 0, 0, 0)[0]
  },
})

// Products with what follows them.

/** The function behind a product, as a node of its own without inputs. */
export function activationAttribute(node: GraphNode): Attribute {
  return { type: 'string', value: JSON.stringify({ op: node.op, domain: node.domain, attributes: node.attributes }) }
}

/** y after the function that `text` (of `activationAttribute`) names. */
export function activated(ctx: RunContext, y: Tensor, text: string): Tensor {
  if (text === '') return y
  const { op, domain: of, attributes } = JSON.parse(text) as Pick<GraphNode, 'op' | 'domain' | 'attributes'>
  const row = onnxOp(of, op)
  if (!row) return ctx.fail('ERR_UNSUPPORTED', `no operator ${JSON.stringify(op)}`)
  const node: GraphNode = { ...ctx.node, op, domain: of, attributes, inputs: ['x'], outputs: ['y'] }
  // Clip has its limits as attributes here, as it had before opset 11.
  const version = op === 'Clip' ? 6 : versionFor(row, 1e9)!
  return ctx.tensor(row.run({ ...ctx, node, version }, [y], node) as Value)
}

defineOnnxOp('Linear', {
  domain,
  since: [1],
  inputs: [2, 3],
  infer: (_: InferContext, [x, w], node) => {
    const out = w?.shape?.[intAttribute(node, 'transB', 0) !== 0 ? 0 : 1]
    return [valueType(x?.dtype, x?.shape && out !== undefined ? [...x.shape.slice(0, -1), out] : undefined)]
  },
  run: (ctx, [x, w, bias], node) => {
    const weight = ctx.tensor(w)
    const rows = intAttribute(node, 'transB', 0) !== 0 ? weight : permute(weight, [1, 0])
    return activated(ctx, linear(ctx.tensor(x), rows, flat(optional(ctx, bias))), stringAttribute(node, 'activation', ''))
  },
})

defineOnnxOp('Conv', {
  domain,
  since: [1],
  inputs: [2, 3],
  infer: (ctx, inputs, node) => onnxOp('', 'Conv')!.infer(ctx, inputs, node),
  run: (ctx, inputs, node) => {
    const y = ctx.tensor(onnxOp('', 'Conv')!.run(ctx, inputs, node) as Value)
    return activated(ctx, y, stringAttribute(node, 'activation', ''))
  },
})
