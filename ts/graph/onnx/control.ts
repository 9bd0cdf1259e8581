/** If, Loop and Scan: subgraphs that see the values around their node. Conditions and counts are read; the bodies run as often as they say. */
import { reshape, slice } from '../../ops/index.js'
import {
  defineOnnxOp,
  graphAttribute,
  intAttribute,
  intsAttribute,
  type InferContext,
  type RunContext,
  type Value,
  type ValueType,
} from '../define.js'
import type { Dim } from '../graph.js'
import { hostScalar, hostStrings, HostTensor } from '../host.js'
import { axisOf, valueType } from '../infer.js'
import { isHost, isTensor, pile } from './values.js'

/** What holds for both. */
function either(a: ValueType, b: ValueType): ValueType {
  const shape = a.shape && b.shape && a.shape.length === b.shape.length ? a.shape.map((d, i) => (d === b.shape![i] ? d : null)) : undefined
  return valueType(a.dtype ?? b.dtype, shape)
}

const versions = [1, 11, 13, 16, 19, 21, 23, 24, 25]

defineOnnxOp('If', {
  since: versions,
  inputs: [1, 1],
  hostInputs: [0],
  infer: (ctx, _inputs, node) => {
    const a = ctx.infer(graphAttribute(node, 'then_branch'), [])
    const b = ctx.infer(graphAttribute(node, 'else_branch'), [])
    return a.map((type, i) => either(type, b[i] ?? {}))
  },
  run: (ctx, [condition], node) => {
    const value = ctx.host(condition)
    if (value.size !== 1) ctx.fail('ERR_SHAPE', `the condition must have one element, got ${value}`)
    return ctx.run(graphAttribute(node, value.data[0] ? 'then_branch' : 'else_branch'), [])
  },
})

/** A scan output by itself: a state that it is may be freed when the next iteration is done with it. */
function own(v: Value, state: readonly Value[]): Value {
  return isTensor(v) && state.includes(v) ? reshape(v, v.shape) : v
}

/** Iterations of one Loop before it counts as endless. */
const MAX_ITERATIONS = 1_000_000

defineOnnxOp('Loop', {
  since: versions,
  inputs: [0, 1000],
  hostInputs: [0, 1],
  infer: (ctx, inputs, node) => {
    const body = graphAttribute(node, 'body')
    const state = inputs.slice(2)
    // Sizes may change from one iteration to the next: only dtypes go in.
    const given = [valueType('i64', []), valueType('bool', []), ...state.map((s) => valueType(s?.dtype))]
    const results = ctx.infer(body, given).slice(1)
    return results.map((r, i) => (i < state.length ? valueType(r.dtype) : valueType(r.dtype, r.shape && [null, ...r.shape])))
  },
  run: (ctx, inputs, node) => {
    const body = graphAttribute(node, 'body')
    const [count, condition, ...initial] = inputs
    const limit = count === undefined ? Infinity : ctx.host(count).data[0]!
    let going = condition === undefined || ctx.host(condition).data[0] !== 0
    let state = initial as Value[]
    const n = state.length
    if (body.inputs.length !== n + 2 || body.outputs.length < n + 1)
      ctx.fail(
        'ERR_MODEL_FORMAT',
        `the body must have ${n + 2} inputs and at least ${n + 1} outputs, got ${body.inputs.length} and ${body.outputs.length}`,
      )
    const scans: Value[][] = body.outputs.slice(n + 1).map(() => [])
    for (let i = 0; going && i < limit; i++) {
      if (i >= MAX_ITERATIONS) ctx.fail('ERR_LIMIT', `more than ${MAX_ITERATIONS} iterations`)
      const results = ctx.run(body, [hostScalar(i), hostScalar(1, 'bool'), ...state])
      state = results.slice(1, n + 1)
      scans.forEach((list, k) => list.push(own(results[n + 1 + k]!, state)))
      going = condition === undefined && results[0] === undefined ? true : ctx.host(results[0]).data[0] !== 0
    }
    return [
      ...state,
      ...scans.map((list) =>
        list.length === 0 ? ctx.fail('ERR_UNSUPPORTED', 'a loop without iterations gives no scan output') : pile(ctx, list, 0),
      ),
    ]
  },
})

/** One step along `axis`, without that axis. */
function step(ctx: RunContext, v: Value, axis: number, at: number): Value {
  if (isHost(v)) {
    const inner = v.shape.slice(axis + 1).reduce((a, b) => a * b, 1)
    const size = v.shape[axis]!
    const keep = (_: unknown, i: number): boolean => Math.floor(i / inner) % size === at
    const shape = [...v.shape.slice(0, axis), ...v.shape.slice(axis + 1)]
    return v.strings ? hostStrings(v.strings.filter(keep), shape) : new HostTensor(v.dtype, shape, v.data.filter(keep))
  }
  const t = ctx.tensor(v)
  const part = slice(
    t,
    t.shape.map((_, i) => (i === axis ? at : 0)),
    t.shape.map((d, i) => (i === axis ? 1 : d)),
  )
  return reshape(part, [...t.shape.slice(0, axis), ...t.shape.slice(axis + 1)])
}

const scanAxes = (ctx: InferContext | RunContext, name: string, count: number, ranks: readonly number[]): number[] => {
  const axes = intsAttribute(ctx.node, name, Array<number>(count).fill(0))
  return ranks.map((rank, i) => axisOf(ctx, axes[i] ?? 0, rank))
}

defineOnnxOp('Scan', {
  since: [9, ...versions.filter((v) => v > 9)],
  inputs: [1, 1000],
  infer: (ctx, inputs, node) => {
    const body = graphAttribute(node, 'body')
    const count = intAttribute(node, 'num_scan_inputs')
    const n = inputs.length - count
    const scanned = inputs.slice(n)
    const axes = scanAxes(
      ctx,
      'scan_input_axes',
      count,
      scanned.map((s) => s?.shape?.length ?? 1),
    )
    const length: Dim = scanned[0]?.shape?.[axes[0]!] ?? null
    const given = inputs.map((x, i) => valueType(x?.dtype, i < n ? x?.shape : x?.shape?.filter((_, k) => k !== axes[i - n])))
    const results = ctx.infer(body, given)
    return results.map((r, i) => {
      if (i < n || !r.shape) return valueType(r.dtype, r.shape)
      const axis = axisOf(ctx, intsAttribute(node, 'scan_output_axes', [])[i - n] ?? 0, r.shape.length + 1)
      return valueType(r.dtype, [...r.shape.slice(0, axis), length, ...r.shape.slice(axis)])
    })
  },
  run: (ctx, inputs, node) => {
    const body = graphAttribute(node, 'body')
    const count = intAttribute(node, 'num_scan_inputs')
    const n = inputs.length - count
    if (!(count >= 1 && n >= 0) || body.inputs.length !== inputs.length)
      ctx.fail('ERR_MODEL_FORMAT', `num_scan_inputs ${count} does not fit ${inputs.length} inputs and a body of ${body.inputs.length}`)
    let state = inputs.slice(0, n) as Value[]
    const scanned = inputs.slice(n) as Value[]
    const shapes = scanned.map((v) => ('shape' in v ? v.shape : ctx.fail('ERR_MODEL_FORMAT', 'scans tensors only')))
    const axes = scanAxes(
      ctx,
      'scan_input_axes',
      count,
      shapes.map((s) => s.length),
    )
    const length = shapes[0]![axes[0]!]!
    if (shapes.some((s, i) => s[axes[i]!] !== length)) ctx.fail('ERR_SHAPE', 'the scanned inputs have different lengths')
    const backwards = intsAttribute(node, 'scan_input_directions', [])
    const lists: Value[][] = body.outputs.slice(n).map(() => [])
    for (let i = 0; i < length; i++) {
      const parts = scanned.map((v, k) => step(ctx, v, axes[k]!, backwards[k] ? length - 1 - i : i))
      const results = ctx.run(body, [...state, ...parts])
      state = results.slice(0, n)
      lists.forEach((list, k) => list.push(own(results[n + k]!, state)))
    }
    const outAxes = intsAttribute(node, 'scan_output_axes', [])
    const outBackwards = intsAttribute(node, 'scan_output_directions', [])
    return [
      ...state,
      ...lists.map((list, k) => {
        const first = list[0]
        if (first === undefined || !('shape' in first)) return ctx.fail('ERR_UNSUPPORTED', 'a scan of length 0 gives no output')
        return pile(ctx, outBackwards[k] ? list.reverse() : list, axisOf(ctx, outAxes[k] ?? 0, first.shape.length + 1))
      }),
    ]
  },
})
