/**
 * Elements by position: Gather and Scatter with their kin, what counts or finds elements. Positions in JavaScript become one native gather; positions in tensors are
 * used where they are by Gather and GatherElements and read by the others.
 */
import { sizeOf, stridesOf } from '../../base/shape.js'
import {
  add,
  cast,
  concat2,
  equal,
  gather,
  gatherAlong,
  maximum,
  minimum,
  mul,
  permute,
  reshape,
  scaleShift,
  slice,
  sub,
} from '../../ops/index.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, hasAttribute, intAttribute, stringAttribute, type RunContext, type Value, type ValueType } from '../define.js'
import type { Dim } from '../graph.js'
import { HostTensor, hostInts } from '../host.js'
import { axisOf, numbers, valueType } from '../infer.js'
import { checkCount, data, hostIndex, movedType, nativeIndex, pick, select } from './move.js'
import { reshaped } from './shapes.js'
import { isFloat, isHost } from './values.js'

defineOnnxOp('Gather', {
  since: [1, 11, 13],
  inputs: [2, 2],
  infer: (ctx, [x, index], node) => {
    if (!x?.shape || !index?.shape) return [valueType(x?.dtype)]
    const axis = axisOf(ctx, intAttribute(node, 'axis', 0), x.shape.length)
    const shape = [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)]
    const n = x.value?.length ?? 0
    const at = x.shape.length === 1 && x.value && numbers(index.value)
    if (at && at.some((p) => p < -n || p >= n)) ctx.fail('ERR_SHAPE', `index must be in [${-n}, ${n}), got [${at.join(',')}]`)
    return [movedType(x, shape, at ? () => at.map((p) => (p < 0 ? p + n : p)) : undefined)]
  },
  run: (ctx, [x, index], node) => {
    const [v, i] = [data(ctx, x), data(ctx, index)]
    const axis = axisOf(ctx, intAttribute(node, 'axis', 0), v.shape.length)
    const n = v.shape[axis]!
    const shape = [...v.shape.slice(0, axis), ...i.shape, ...v.shape.slice(axis + 1)]
    if (isHost(i) && (isHost(v) ? !v.native : i.size === 1)) return reshaped(ctx, select(ctx, v, axis, hostIndex(ctx, i, n)), shape)
    const t = ctx.tensor(v)
    const rows = nativeIndex(ctx, i, n)
    if (axis === 0) return gather(t, rows)
    const front = [axis, ...t.shape.map((_, k) => k).filter((k) => k !== axis)]
    const found = gather(permute(t, front), rows)
    const [r, rank] = [i.shape.length, shape.length]
    // [index..., before..., after...] to [before..., index..., after...]
    const order = Array.from({ length: rank }, (_, k) => (k < axis ? r + k : k < axis + r ? k - axis : k))
    return permute(found, order)
  },
})

defineOnnxOp('GatherElements', {
  since: [11, 13],
  inputs: [2, 2],
  infer: (_, [x, index]) => [valueType(x?.dtype, index?.shape)],
  run: (ctx, [x, index], node) => {
    const [v, i] = [data(ctx, x), data(ctx, index)]
    const { shape } = i
    const axis = axisOf(ctx, intAttribute(node, 'axis', 0), v.shape.length)
    if (shape.length !== v.shape.length || shape.some((d, k) => k !== axis && d > v.shape[k]!))
      ctx.fail('ERR_SHAPE', `index [${shape.join(',')}] does not fit x [${v.shape.join(',')}] along axis ${axis}`)
    if (!isHost(i) && (!isHost(v) || v.native)) {
      const t = ctx.tensor(v)
      const part = slice(
        t,
        shape.map(() => 0),
        shape.map((d, k) => (k === axis ? t.shape[k]! : d)),
      )
      const through = isFloat(part.dtype) ? part : cast(part, 'f64')
      const y = gatherAlong(through, nativeIndex(ctx, i, t.shape[axis]!), axis)
      return y.dtype === t.dtype ? y : cast(y, t.dtype)
    }
    return pick(ctx, v, shape, elementPositions(ctx, v.shape, ctx.host(i), axis))
  },
})

/** Flat positions in a tensor of `shape` of GatherElements and ScatterElements. */
function elementPositions(ctx: RunContext, shape: readonly number[], index: HostTensor, axis: number): Int32Array {
  const [from, to] = [stridesOf(index.shape), stridesOf(shape)]
  const along = hostIndex(ctx, index, shape[axis]!)
  return Int32Array.from({ length: index.size }, (_, i) => {
    let at = along[i]! * to[axis]!
    for (let k = 0; k < shape.length; k++) if (k !== axis) at += (Math.floor(i / from[k]!) % index.shape[k]!) * to[k]!
    return at
  })
}

/** First positions of the slices that GatherND and ScatterND name, and the size of a slice. */
function slicePositions(
  ctx: RunContext,
  shape: readonly number[],
  index: HostTensor,
  batch: number,
): { starts: number[]; size: number; rest: number[] } {
  const depth = index.shape.at(-1) ?? ctx.fail('ERR_SHAPE', 'indices must have at least one dimension')
  if (batch + depth > shape.length || batch < 0 || index.rank <= batch || index.shape.slice(0, batch).some((d, k) => d !== shape[k]))
    ctx.fail('ERR_SHAPE', `indices ${index} with ${batch} batch dimensions do not fit [${shape.join(',')}]`)
  const strides = stridesOf(shape)
  const rest = shape.slice(batch + depth)
  const count = depth === 0 ? sizeOf(index.shape.slice(0, -1)) : index.size / depth
  const perBatch = count / Math.max(1, sizeOf(shape.slice(0, batch)))
  const batchSize = sizeOf(shape.slice(batch))
  const starts = Array.from({ length: count }, (_, i) => {
    let at = Math.floor(i / perBatch) * batchSize
    for (let k = 0; k < depth; k++) {
      const [p, n] = [index.data[i * depth + k]!, shape[batch + k]!]
      if (!(p >= -n && p < n)) ctx.fail('ERR_SHAPE', `index must be in [${-n}, ${n}), got ${p}`)
      at += (p < 0 ? p + n : p) * strides[batch + k]!
    }
    return at
  })
  return { starts, size: sizeOf(rest), rest }
}

const spread = (starts: readonly number[], size: number): Int32Array =>
  Int32Array.from({ length: starts.length * size }, (_, i) => starts[Math.floor(i / size)]! + (i % size))

defineOnnxOp('GatherND', {
  since: [11, 12, 13],
  inputs: [2, 2],
  infer: (_, [x, index], node) => {
    const depth = index?.shape?.at(-1)
    if (!x?.shape || typeof depth !== 'number') return [valueType(x?.dtype)]
    return [valueType(x.dtype, [...index!.shape!.slice(0, -1), ...x.shape.slice(intAttribute(node, 'batch_dims', 0) + depth)])]
  },
  run: (ctx, [x, index], node) => {
    const v = data(ctx, x)
    const i = ctx.host(index)
    const { starts, size, rest } = slicePositions(ctx, v.shape, i, intAttribute(node, 'batch_dims', 0))
    return pick(ctx, v, [...i.shape.slice(0, -1), ...rest], spread(starts, size))
  },
})

// Scatter: elements of x replaced by, or combined with, updates.

type Combine = {
  readonly host: (a: number, b: number) => number
  readonly native: (a: Tensor, b: Tensor) => Tensor
  readonly neutral: number
}
const combinations: Readonly<Record<string, Combine>> = {
  add: { host: (a, b) => a + b, native: add, neutral: 0 },
  mul: { host: (a, b) => a * b, native: mul, neutral: 1 },
  max: { host: Math.max, native: maximum, neutral: -Infinity },
  min: { host: Math.min, native: minimum, neutral: Infinity },
}

/** x with updates at flat positions; positions that come again combine in order, or the last one wins. */
function scatter(ctx: RunContext, x: Value | undefined, updates: Value | undefined, positions: Int32Array, reduction: string): Value {
  const [v, u] = [data(ctx, x), data(ctx, updates)]
  const n = sizeOf(v.shape)
  if (sizeOf(u.shape) !== positions.length) ctx.fail('ERR_SHAPE', `updates [${u.shape.join(',')}] for ${positions.length} positions`)
  const combine =
    reduction === 'none' ? undefined : (combinations[reduction] ?? ctx.fail('ERR_UNSUPPORTED', `reduction ${JSON.stringify(reduction)}`))
  if (isHost(v) && isHost(u) && !v.native) {
    const out = v.strings ? [...v.strings] : [...v.data]
    const values: readonly (number | string)[] = u.strings ?? u.data
    positions.forEach((p, i) => {
      out[p] = combine ? combine.host(out[p] as number, values[i] as number) : values[i]!
    })
    return v.strings
      ? new HostTensor('string', v.shape, [], { strings: out as string[] })
      : new HostTensor(v.dtype, v.shape, out as number[])
  }
  const [t, add1] = [ctx.tensor(v), ctx.tensor(u)]
  const [flat, flatUpdates] = [reshape(t, [n]), reshape(add1.dtype === t.dtype ? add1 : cast(add1, t.dtype), [positions.length])]
  if (!combine) {
    const from = Int32Array.from({ length: n }, (_, i) => i)
    positions.forEach((p, i) => {
      from[p] = n + i
    })
    return reshape(gather(concat2(flat, flatUpdates, 0), tensor(from)), t.shape)
  }
  const through = isFloat(t.dtype) ? t.dtype : 'f64'
  const as = (y: Tensor): Tensor => (y.dtype === through ? y : cast(y, through))
  const source = concat2(as(flatUpdates), full([1], combine.neutral, through), 0)
  // Round r combines the r-th update of every position.
  const rounds: Int32Array[] = []
  const seen = new Uint32Array(n)
  positions.forEach((p, i) => {
    const r = seen[p]!++
    const round = (rounds[r] ??= new Int32Array(n).fill(positions.length))
    round[p] = i
  })
  const y = rounds.reduce((sum, round) => combine.native(sum, gather(source, tensor(round))), as(flat))
  return reshape(through === t.dtype ? y : cast(y, t.dtype), t.shape)
}

const sameAsFirst = (_: unknown, [x]: readonly (ValueType | undefined)[]): ValueType[] => [valueType(x?.dtype, x?.shape)]

for (const name of ['Scatter', 'ScatterElements'])
  defineOnnxOp(name, {
    since: name === 'Scatter' ? [9] : [11, 13, 16, 18],
    inputs: [3, 3],
    infer: sameAsFirst,
    run: (ctx, [x, index, updates], node) => {
      const v = data(ctx, x)
      const axis = axisOf(ctx, intAttribute(node, 'axis', 0), v.shape.length)
      const i = ctx.host(index)
      if (i.rank !== v.shape.length || i.shape.some((d, k) => k !== axis && d > v.shape[k]!))
        ctx.fail('ERR_SHAPE', `index ${i} does not fit x [${v.shape.join(',')}] along axis ${axis}`)
      return scatter(ctx, v, updates, elementPositions(ctx, v.shape, i, axis), stringAttribute(node, 'reduction', 'none'))
    },
  })

defineOnnxOp('ScatterND', {
  since: [11, 13, 16, 18],
  inputs: [3, 3],
  infer: sameAsFirst,
  run: (ctx, [x, index, updates], node) => {
    const v = data(ctx, x)
    const { starts, size } = slicePositions(ctx, v.shape, ctx.host(index), 0)
    return scatter(ctx, v, updates, spread(starts, size), stringAttribute(node, 'reduction', 'none'))
  },
})

defineOnnxOp('OneHot', {
  since: [9, 11],
  inputs: [3, 3],
  hostInputs: [1],
  infer: (ctx, [index, depth, values], node) => {
    if (!index?.shape) return [valueType(values?.dtype)]
    const rank = index.shape.length + 1
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), rank)
    return [valueType(values?.dtype, [...index.shape.slice(0, axis), depth?.value?.[0] ?? null, ...index.shape.slice(axis)])]
  },
  run: (ctx, [index, depth, values], node) => {
    const i = ctx.tensor(index)
    const n = ctx.host(depth).data[0]!
    if (!(Number.isInteger(n) && n >= 0)) ctx.fail('ERR_SHAPE', `depth must be an integer >= 0, got ${n}`)
    checkCount(ctx, n)
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), i.rank + 1)
    const at = reshape(cast(i, 'f64'), [...i.shape.slice(0, axis), 1, ...i.shape.slice(axis)])
    const classes = tensor(
      Float64Array.from({ length: n }, (_, k) => k),
      Array.from({ length: i.rank + 1 }, (_, k) => (k === axis ? n : 1)),
    )
    // An index of -1 is the last class.
    const hit = add(equal(at, classes), equal(scaleShift(at, 1, n), classes))
    const v = ctx.tensor(values)
    const both = v.dtype === 'f64' ? v : cast(v, 'f64')
    const [off, on] = [slice(both, [0], [1]), slice(both, [1], [1])]
    const y = add(mul(hit, sub(on, off)), off)
    return v.dtype === 'f64' ? y : cast(y, v.dtype)
  },
})

defineOnnxOp('NonZero', {
  since: [9, 13],
  inputs: [1, 1],
  infer: (_, [x]) => [valueType('i64', [x?.shape?.length ?? null, null])],
  run: (ctx, [x]) => {
    const v = ctx.host(x)
    const found = v.data.flatMap((e, i) => (e !== 0 ? [i] : []))
    const strides = stridesOf(v.shape)
    return new HostTensor(
      'i64',
      [v.rank, found.length],
      v.shape.flatMap((d, k) => found.map((i) => Math.floor(i / strides[k]!) % d)),
    )
  },
})

defineOnnxOp('Compress', {
  since: [9, 11],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (ctx, [x], node) => {
    if (!hasAttribute(node, 'axis')) return [valueType(x?.dtype, [null])]
    if (!x?.shape) return [valueType(x?.dtype)]
    const axis = axisOf(ctx, intAttribute(node, 'axis'), x.shape.length)
    return [
      valueType(
        x.dtype,
        x.shape.map((d, i): Dim => (i === axis ? null : d)),
      ),
    ]
  },
  run: (ctx, [x, condition], node) => {
    const v = data(ctx, x)
    const kept = ctx.host(condition).data.flatMap((c, i) => (c !== 0 ? [i] : []))
    const flat = !hasAttribute(node, 'axis')
    const axis = flat ? 0 : axisOf(ctx, intAttribute(node, 'axis'), v.shape.length)
    const n = flat ? sizeOf(v.shape) : v.shape[axis]!
    if (kept.some((i) => i >= n)) ctx.fail('ERR_SHAPE', `the condition chooses ${kept.at(-1)} of ${n} elements`)
    return select(ctx, flat ? reshaped(ctx, v, [n]) : v, axis, kept)
  },
})

defineOnnxOp('Unique', {
  since: [11],
  inputs: [1, 1],
  infer: (_, [x], node) => {
    const shape = hasAttribute(node, 'axis') ? x?.shape?.map(() => null) : [null]
    return [valueType(x?.dtype, shape), valueType('i64', [null]), valueType('i64', [null]), valueType('i64', [null])]
  },
  run: (ctx, [x], node) => {
    const v = ctx.host(x)
    const flat = !hasAttribute(node, 'axis')
    const axis = flat ? 0 : axisOf(ctx, intAttribute(node, 'axis'), v.rank)
    const shape = flat ? [v.size] : v.shape
    const n = shape[axis]!
    const strides = stridesOf(shape)
    const step = strides[axis]!
    // Slices along the axis, each as its list of elements.
    const others = Array.from({ length: sizeOf(shape) / Math.max(1, n) }, (_, i) => Math.floor(i / step) * step * n + (i % step))
    const values: readonly (number | string)[] = v.strings ?? v.data
    const slices = Array.from({ length: n }, (_, k) => others.map((p) => values[p + k * step]!))
    const order = (a: readonly (number | string)[], b: readonly (number | string)[]): number => {
      for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1
      return 0
    }
    const first: number[] = []
    const groupOf = new Map<string, number>()
    const inverse = slices.map((s, k) => {
      const key = JSON.stringify(s)
      const known = groupOf.get(key)
      if (known !== undefined) return known
      groupOf.set(key, first.length)
      return first.push(k) - 1
    })
    const sorted = first.map((_, g) => g)
    if (intAttribute(node, 'sorted', 1) !== 0) sorted.sort((a, b) => order(slices[first[a]!]!, slices[first[b]!]!))
    const rank = sorted.map((_, i) => sorted.indexOf(i))
    const counts = sorted.map((g) => inverse.filter((i) => i === g).length)
    const kept = sorted.map((g) => first[g]!)
    const y = select(ctx, flat ? new HostTensor(v.dtype, shape, v.data, v.strings ? { strings: v.strings } : {}) : v, axis, kept)
    return [y, hostInts(kept), hostInts(inverse.map((g) => rank[g]!)), hostInts(counts)]
  },
})
