/** Losses of classes, normalizations that are plain formulas, einsum, determinants. */
import { sizeOf } from '../../base/shape.js'
import {
  abs,
  add,
  avgPool2d,
  cast,
  concat,
  div,
  einsum,
  equal,
  gather,
  gatherAlong,
  logSoftmax,
  mean,
  mul,
  neg,
  padSlice,
  permute,
  power,
  reshape,
  scaleShift,
  slice,
  sqrt,
  sub,
  sum,
} from '../../ops/index.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  floatAttribute,
  hasAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type RunContext,
  type ValueType,
} from '../define.js'
import type { GraphNode } from '../graph.js'
import { HostTensor } from '../host.js'
import { axisOf, sameType, valueType } from '../infer.js'

/** -w[t] x[n, t, ...] for x [N, C, ...] and targets t [N, ...], and the weights that count. */
function likelihood(node: GraphNode, x: Tensor, target: Tensor, weight: Tensor | undefined): { loss: Tensor; counted: Tensor } {
  const t = cast(target, 'i32')
  const ignore = hasAttribute(node, 'ignore_index') ? full([], intAttribute(node, 'ignore_index'), 'i32') : undefined
  const ignored = ignore && equal(t, ignore)
  const safe = ignored ? mul(t, sub(full([], 1, 'i32'), ignored)) : t
  const picked = reshape(gatherAlong(x, reshape(safe, [t.shape[0]!, 1, ...t.shape.slice(1)]), 1), t.shape)
  const each = weight ? gather(weight, safe) : full(t.shape, 1, x.dtype)
  const counted = ignored ? mul(each, scaleShift(cast(ignored, x.dtype), -1, 1)) : each
  return { loss: neg(mul(picked, counted)), counted }
}

function reducedLoss(ctx: RunContext, node: GraphNode, { loss, counted }: { loss: Tensor; counted: Tensor }): Tensor {
  const reduction = stringAttribute(node, 'reduction', 'mean')
  if (reduction === 'none') return loss
  if (reduction === 'sum') return sum(loss)
  return reduction === 'mean' ? div(sum(loss), sum(counted)) : ctx.fail('ERR_MODEL_FORMAT', `reduction ${JSON.stringify(reduction)}`)
}
const lossType = (node: GraphNode, x: ValueType | undefined, target: ValueType | undefined): ValueType =>
  valueType(x?.dtype, stringAttribute(node, 'reduction', 'mean') === 'none' ? target?.shape : [])

defineOnnxOp('NegativeLogLikelihoodLoss', {
  since: [12, 13, 22],
  inputs: [2, 3],
  infer: (_, [x, target], node) => [lossType(node, x, target)],
  run: (ctx, [x, target, weight], node) =>
    reducedLoss(ctx, node, likelihood(node, ctx.tensor(x), ctx.tensor(target), weight && ctx.tensor(weight))),
})

defineOnnxOp('SoftmaxCrossEntropyLoss', {
  since: [12, 13],
  inputs: [2, 3],
  infer: (_, [x, target], node) => [lossType(node, x, target), valueType(x?.dtype, x?.shape)],
  run: (ctx, [x, target, weight], node) => {
    const logs = logSoftmax(ctx.tensor(x), 1)
    return [reducedLoss(ctx, node, likelihood(node, logs, ctx.tensor(target), weight && ctx.tensor(weight))), logs]
  },
})

defineOnnxOp('LpNormalization', {
  since: [1, 22],
  inputs: [1, 1],
  infer: sameType,
  run: (ctx, [x], node) => {
    const t = ctx.tensor(x)
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), t.rank)
    const p = intAttribute(node, 'p', 2)
    if (p !== 1 && p !== 2) ctx.fail('ERR_MODEL_FORMAT', `p must be 1 or 2, got ${p}`)
    const size = p === 1 ? sum(abs(t), [axis], true) : sqrt(sum(mul(t, t), [axis], true))
    // 0 / 0 is 0 here.
    return div(t, add(size, equal(size, full([], 0, t.dtype))))
  },
})

defineOnnxOp('MeanVarianceNormalization', {
  since: [9, 13],
  inputs: [1, 1],
  infer: sameType,
  run: (ctx, [x], node) => {
    const t = ctx.tensor(x)
    const axes = intsAttribute(node, 'axes', [0, 2, 3]).map((a) => axisOf(ctx, a, t.rank))
    const centred = sub(t, mean(t, axes, true))
    return div(centred, scaleShift(sqrt(mean(mul(centred, centred), axes, true)), 1, 1e-9))
  },
})

defineOnnxOp('LRN', {
  since: [1, 13],
  inputs: [1, 1],
  infer: sameType,
  run: (ctx, [x], node) => {
    const t = ctx.tensor(x)
    const size = intAttribute(node, 'size')
    const [alpha, beta, bias] = [floatAttribute(node, 'alpha', 1e-4), floatAttribute(node, 'beta', 0.75), floatAttribute(node, 'bias', 1)]
    if (!(Number.isInteger(size) && size >= 1 && size < 2 ** 20) || t.rank < 3)
      ctx.fail('ERR_SHAPE', `size must be an integer >= 1 and x [N, C, ...], got ${size} and ${t}`)
    const [n, c] = t.shape as [number, number]
    const rest = sizeOf(t.shape.slice(2))
    const squares = reshape(mul(t, t), [n, 1, c, rest])
    // Windows of `size` channels: (size - 1) / 2 before, the rest behind.
    const before = Math.floor((size - 1) / 2)
    const around = padSlice(squares, [n, 1, c + size - 1, rest], [0, 0, before, 0])
    const means = avgPool2d(around, [size, 1], { stride: [1, 1] })
    return mul(t, power(scaleShift(reshape(means, t.shape), alpha, bias), -beta))
  },
})

/** Letters for the dimensions of an ellipsis. */
const SPARE = 'ZYXWVUTS'

defineOnnxOp('Einsum', {
  since: [12],
  inputs: [1, 64],
  infer: (_, inputs) => [valueType(inputs[0]?.dtype)],
  run: (ctx, inputs, node) => {
    const operands = inputs.map((v) => ctx.tensor(v))
    const [left, right] = stringAttribute(node, 'equation').replace(/\s/g, '').split('->') as [string, string | undefined]
    const terms = left.split(',')
    if (terms.length !== operands.length)
      ctx.fail('ERR_MODEL_FORMAT', `the equation names ${terms.length} operands, there are ${operands.length}`)
    const widest = Math.max(0, ...terms.map((t, i) => (t.includes('...') ? operands[i]!.rank - (t.length - 3) : 0)))
    if (widest > SPARE.length || [...SPARE.slice(0, widest)].some((l) => left.includes(l)))
      ctx.fail('ERR_UNSUPPORTED', 'too many dimensions in an ellipsis')
    const dots = (n: number): string => SPARE.slice(widest - n, widest)
    const expanded = terms.map((t, i) => t.replace('...', dots(Math.max(0, operands[i]!.rank - (t.length - 3)))))
    const once = [...new Set(expanded.join(''))].filter((l) => !SPARE.includes(l) && expanded.join('').split(l).length === 2).sort()
    const output = right === undefined ? dots(widest) + once.join('') : right.replace('...', dots(widest))
    const sizes = new Map<string, number>()
    expanded.forEach((t, i) => [...t].forEach((l, k) => sizes.set(l, Math.max(sizes.get(l) ?? 1, operands[i]!.shape[k] ?? 1))))
    const ready = expanded.map((t, i) => diagonal(ctx, operands[i]!, t, sizes))
    return einsum(`${ready.map((r) => r.letters).join()}->${output}`, ...ready.map((r) => r.t))
  },
})

/** Letters that stand twice become one (the diagonal); dimensions of size 1 that stand for larger ones go. */
function diagonal(ctx: RunContext, x: Tensor, letters: string, sizes: ReadonlyMap<string, number>): { t: Tensor; letters: string } {
  if (letters.length !== x.rank) ctx.fail('ERR_SHAPE', `${JSON.stringify(letters)} does not name the dimensions of ${x}`)
  let [t, names] = [x, letters]
  for (let i = names.length - 1; i >= 0; i--)
    if (t.shape[i] === 1 && (sizes.get(names[i]!) ?? 1) > 1) {
      t = reshape(
        t,
        t.shape.filter((_, k) => k !== i),
      )
      names = names.slice(0, i) + names.slice(i + 1)
    }
  for (const letter of new Set(names)) {
    while (names.indexOf(letter) !== names.lastIndexOf(letter)) {
      const [i, j] = [names.indexOf(letter), names.lastIndexOf(letter)]
      const n = t.shape[i]!
      if (t.shape[j] !== n) ctx.fail('ERR_SHAPE', `dimension ${letter} of ${x} has two sizes`)
      const others = t.shape.map((_, k) => k).filter((k) => k !== i && k !== j)
      const moved = permute(t, [i, j, ...others])
      const rest = others.map((k) => t.shape[k]!)
      const flat = reshape(moved, [n * n, sizeOf(rest)])
      t = reshape(gather(flat, tensor(Int32Array.from({ length: n }, (_, k) => k * (n + 1)))), [n, ...rest])
      names = letter + others.map((k) => names[k]).join('')
    }
  }
  return { t, letters: names }
}

defineOnnxOp('Det', {
  since: [11, 22],
  inputs: [1, 1],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape?.slice(0, -2))],
  run: (ctx, [x]) => {
    const t = ctx.tensor(x)
    if (t.rank < 2 || t.shape.at(-1) !== t.shape.at(-2)) ctx.fail('ERR_SHAPE', `x must be square matrices, got ${t}`)
    const n = t.shape.at(-1)!
    const { data } = ctx.host(t)
    const dets = Array.from({ length: sizeOf(t.shape.slice(0, -2)) }, (_, m) => determinant(data.slice(m * n * n, (m + 1) * n * n), n))
    return new HostTensor(t.dtype, t.shape.slice(0, -2), t.dtype === 'f32' ? dets.map(Math.fround) : dets)
  },
})

/** Gaussian elimination with the largest pivot of each column. */
function determinant(values: readonly number[], n: number): number {
  const a = [...values]
  let det = 1
  for (let k = 0; k < n; k++) {
    let p = k
    for (let i = k + 1; i < n; i++) if (Math.abs(a[i * n + k]!) > Math.abs(a[p * n + k]!)) p = i
    const pivot = a[p * n + k]!
    if (pivot === 0) return 0
    if (p !== k) {
      det = -det
      for (let j = 0; j < n; j++) [a[k * n + j], a[p * n + j]] = [a[p * n + j]!, a[k * n + j]!]
    }
    det *= pivot
    for (let i = k + 1; i < n; i++) {
      const f = a[i * n + k]! / pivot
      for (let j = k; j < n; j++) a[i * n + j]! -= f * a[k * n + j]!
    }
  }
  return det
}

/** Products along an axis, one slice after the other. */
defineOnnxOp('CumProd', {
  since: [26],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [x, at], node) => {
    const t = ctx.tensor(x)
    const axis = axisOf(ctx, ctx.host(at).data[0]!, t.rank)
    const [exclusive, reverse] = [intAttribute(node, 'exclusive', 0) !== 0, intAttribute(node, 'reverse', 0) !== 0]
    const through = t.dtype === 'f32' || t.dtype === 'f64' ? t : cast(t, 'f64')
    const n = t.shape[axis]!
    const slab = t.shape.map((d, i) => (i === axis ? 1 : d))
    const parts: Tensor[] = []
    let product = full(slab, 1, through.dtype)
    for (let k = 0; k < n; k++) {
      const i = reverse ? n - 1 - k : k
      const next = mul(
        product,
        slice(
          through,
          t.shape.map((_, d) => (d === axis ? i : 0)),
          slab,
        ),
      )
      parts[i] = exclusive ? product : next
      product = next
    }
    const y = n === 0 ? through : concat(parts, axis)
    return y.dtype === t.dtype ? y : cast(y, t.dtype)
  },
})
