/** Sequences of tensors: lists of values. */
import { defineOnnxOp, intAttribute, SequenceValue, type RunContext, type Value, type ValueType } from '../define.js'
import { hostScalar } from '../host.js'
import { axisOf, valueType } from '../infer.js'
import { select } from './move.js'
import { reshaped, shapeOf } from './shapes.js'
import { partSizes } from './slice.js'
import { join, list } from './values.js'

defineOnnxOp('SplitToSequence', {
  since: [11],
  inputs: [1, 2],
  hostInputs: [1],
  infer: () => [{}],
  run: (ctx, [x, split], node) => {
    const shape = shapeOf(ctx, x)
    const axis = axisOf(ctx, intAttribute(node, 'axis', 0), shape.length)
    const n = shape[axis]!
    const given = split && ctx.host(split)
    const sizes = !given
      ? Array<number>(n).fill(1)
      : given.rank > 0
        ? given.data
        : Array.from({ length: Math.ceil(n / given.data[0]!) }, (_, i) => Math.min(given.data[0]!, n - i * given.data[0]!))
    const keep = given !== undefined || intAttribute(node, 'keepdims', 1) !== 0
    let from = 0
    return new SequenceValue(
      partSizes(ctx, n, sizes, sizes.length).map((size) => {
        const part = select(
          ctx,
          x,
          axis,
          Array.from({ length: size }, (_, i) => from + i),
        )
        from += size
        return keep
          ? part
          : reshaped(
              ctx,
              part,
              shape.filter((_, i) => i !== axis),
            )
      }),
    )
  },
})

/** The optional value that is not there. */
export const nothing = new SequenceValue([])

const items = (ctx: RunContext, v: Value | undefined): readonly Value[] =>
  v instanceof SequenceValue ? v.items : ctx.fail('ERR_MODEL_FORMAT', 'needs a sequence')

/** A position in [-n, n) (or up to n with `end`) as one from the start. */
function place(ctx: RunContext, v: Value | undefined, n: number, other: number, end = false): number {
  const at = v ? list(ctx, v)[0]! : other
  if (!(at >= -n && at < n + (end ? 1 : 0))) ctx.fail('ERR_SHAPE', `position ${at} lies outside a sequence of ${n}`)
  return at < 0 ? at + n : at
}

const unknown = (): ValueType[] => [{}]
defineOnnxOp('SequenceEmpty', { since: [11], inputs: [0, 0], infer: unknown, run: () => new SequenceValue([]) })
defineOnnxOp('SequenceConstruct', {
  since: [11],
  inputs: [1, 4096],
  infer: unknown,
  run: (_, inputs) => new SequenceValue(inputs as Value[]),
})
defineOnnxOp('SequenceLength', {
  since: [11],
  inputs: [1, 1],
  infer: () => [valueType('i64', [])],
  run: (ctx, [s]) => hostScalar(items(ctx, s).length),
})
defineOnnxOp('SequenceAt', {
  since: [11],
  inputs: [2, 2],
  hostInputs: [1],
  infer: unknown,
  run: (ctx, [s, at]) => {
    const all = items(ctx, s)
    return all[place(ctx, at, all.length, 0)]!
  },
})
defineOnnxOp('SequenceInsert', {
  since: [11],
  inputs: [2, 3],
  hostInputs: [2],
  infer: unknown,
  run: (ctx, [s, x, at]) => {
    const all = items(ctx, s)
    const p = place(ctx, at, all.length, all.length, true)
    return new SequenceValue([...all.slice(0, p), x!, ...all.slice(p)])
  },
})
defineOnnxOp('SequenceErase', {
  since: [11],
  inputs: [1, 2],
  hostInputs: [1],
  infer: unknown,
  run: (ctx, [s, at]) => {
    const all = items(ctx, s)
    const p = place(ctx, at, all.length, all.length - 1)
    return new SequenceValue(all.filter((_, i) => i !== p))
  },
})
defineOnnxOp('ConcatFromSequence', {
  since: [11],
  inputs: [1, 1],
  infer: unknown,
  run: (ctx, [s], node) => {
    const all = items(ctx, s)
    if (all.length === 0) ctx.fail('ERR_SHAPE', 'an empty sequence cannot be joined')
    const fresh = intAttribute(node, 'new_axis', 0) !== 0
    const rank = shapeOf(ctx, all[0]).length
    const axis = axisOf(ctx, intAttribute(node, 'axis'), rank + (fresh ? 1 : 0))
    const widened = fresh ? all.map((v) => reshaped(ctx, v, [...shapeOf(ctx, v).slice(0, axis), 1, ...shapeOf(ctx, v).slice(axis)])) : all
    return join(ctx, widened, axis)
  },
})
