/** MatMul and Gemm. */
import { add, gemm, matmul, mul, reshape, transpose } from '../../ops/index.js'
import { full, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, floatAttribute, intAttribute, type InferContext } from '../define.js'
import type { Dim } from '../graph.js'
import { broadcastDims, valueType } from '../infer.js'
import { multipliesHeads } from './channels-attention.js'
import { isFloat } from './values.js'

const differ = (a: Dim | undefined, b: Dim | undefined): boolean => typeof a === 'number' && typeof b === 'number' && a !== b

function productShape(ctx: InferContext, a: readonly Dim[], b: readonly Dim[]): Dim[] {
  if (a.length === 0 || b.length === 0) ctx.fail('ERR_SHAPE', 'a matrix product needs at least one dimension')
  const [left, right] = [a.length === 1 ? [1, ...a] : a, b.length === 1 ? [...b, 1] : b]
  if (differ(left.at(-1), right.at(-2))) ctx.fail('ERR_SHAPE', `[${a.join(',')}] times [${b.join(',')}]: the inner sizes differ`)
  const outer = broadcastDims(ctx, [left.slice(0, -2), right.slice(0, -2)])!
  return [...outer, ...(a.length === 1 ? [] : [left.at(-2)!]), ...(b.length === 1 ? [] : [right.at(-1)!])]
}

defineOnnxOp('MatMul', {
  since: [1, 9, 13],
  inputs: [2, 2],
  channels: multipliesHeads,
  infer: (ctx, [a, b]) => [valueType(a?.dtype ?? b?.dtype, a?.shape && b?.shape ? productShape(ctx, a.shape, b.shape) : undefined)],
  run: (ctx, inputs) => {
    const [a, b] = [ctx.tensor(inputs[0]), ctx.tensor(inputs[1])]
    if (!isFloat(a.dtype)) ctx.fail('ERR_UNSUPPORTED', `products of ${a.dtype} are not supported`)
    if (a.rank === 0 || b.rank === 0) ctx.fail('ERR_SHAPE', 'a matrix product needs at least one dimension')
    const left = a.rank === 1 ? reshape(a, [1, a.size]) : a
    const right = b.rank === 1 ? reshape(b, [b.size, 1]) : b
    const y = matmul(left, right)
    const shape = [...y.shape.slice(0, -2), ...(a.rank === 1 ? [] : [y.shape.at(-2)!]), ...(b.rank === 1 ? [] : [y.shape.at(-1)!])]
    return shape.length === y.rank ? y : reshape(y, shape)
  },
})

defineOnnxOp('Gemm', {
  since: [7, 9, 11, 13],
  inputs: [2, 3],
  infer: (ctx, [a, b, c], node) => {
    if (!a?.shape || !b?.shape) return [valueType(a?.dtype ?? b?.dtype)]
    if (a.shape.length !== 2 || b.shape.length !== 2)
      ctx.fail('ERR_SHAPE', `takes matrices, got [${a.shape.join(',')}] and [${b.shape.join(',')}]`)
    const [ta, tb] = [intAttribute(node, 'transA', 0), intAttribute(node, 'transB', 0)]
    if (differ(a.shape[ta ? 0 : 1], b.shape[tb ? 1 : 0]))
      ctx.fail('ERR_SHAPE', `[${a.shape.join(',')}] times [${b.shape.join(',')}]: the inner sizes differ`)
    const shape = [a.shape[ta ? 1 : 0]!, b.shape[tb ? 0 : 1]!]
    if (c?.shape) broadcastDims(ctx, [shape, c.shape])
    return [valueType(a.dtype, shape)]
  },
  run: (ctx, inputs, node) => {
    const [a, b] = [ctx.tensor(inputs[0]), ctx.tensor(inputs[1])]
    if (a.rank !== 2 || b.rank !== 2) ctx.fail('ERR_SHAPE', `takes matrices, got ${a} and ${b}`)
    const c = inputs[2] === undefined ? null : ctx.tensor(inputs[2])
    const options = {
      transposeA: intAttribute(node, 'transA', 0) !== 0,
      transposeB: intAttribute(node, 'transB', 0) !== 0,
      alpha: floatAttribute(node, 'alpha', 1),
      beta: floatAttribute(node, 'beta', 1),
    }
    if (a.dtype === 'f32') return gemm(a, b, { ...options, c })
    if (!isFloat(a.dtype)) ctx.fail('ERR_UNSUPPORTED', `products of ${a.dtype} are not supported`)
    const scaled = (t: Tensor, s: number): Tensor => (s === 1 ? t : mul(t, full([], s, t.dtype)))
    const y = scaled(matmul(options.transposeA ? transpose(a) : a, options.transposeB ? transpose(b) : b), options.alpha)
    return c ? add(y, scaled(c, options.beta)) : y
  },
})
