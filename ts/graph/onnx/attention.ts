/**
 * Attention in the forms of ONNX 23 and of ONNX Runtime (Attention, MultiHeadAttention, GroupQueryAttention), rotary positions. All become one native attention over
 * [B, heads, length, D]; soft caps and asked-for scores are spelled out.
 */
import {
  add,
  cast,
  concat,
  equal,
  linear,
  matmul,
  permute,
  repeatInterleave,
  reshape,
  scaleShift,
  slice,
  softmax,
  tanh,
  where,
} from '../../ops/index.js'
import { attentionOp } from '../../ops/attention.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  floatAttribute,
  hasAttribute,
  intAttribute,
  intsAttribute,
  type RunContext,
  type Value,
  type ValueType,
} from '../define.js'
import type { Dim } from '../graph.js'
import { valueType } from '../infer.js'
import { attends } from './channels-attention.js'
import { heads, rowsAt, together, turned } from './rotary.js'
import { list } from './values.js'

interface Options {
  readonly scale: number
  /** Added to the scores; broadcasts to [B, heads, T, S]. */
  readonly mask: Tensor | null
  readonly causal: boolean
  readonly softcap: number
}

/** Heads of keys and values, each as often as queries share it. */
const shared = (x: Tensor, n: number): Tensor => (x.shape[1] === n ? x : repeatInterleave(x, n / x.shape[1]!, 1))

/** softmax(q k^T scale + mask) v; a row that sees nothing gives zeros. */
function attend(q: Tensor, k: Tensor, v: Tensor, { scale, mask, causal, softcap }: Options): Tensor {
  if (softcap === 0) return attentionOp(q, k, v, mask, null, q.shape[1]!, scale, causal, 0, 0, 0)[0]
  return scored(q, k, v, {
    scale,
    mask: causal ? both(mask, frontier(q.shape[2]!, k.shape[2]!, [k.shape[2]! - q.shape[2]!])) : mask,
    causal: false,
    softcap,
  }).y
}

/** The same with everything on the way: scores, after the soft cap, after the mask, weights. */
function scored(q: Tensor, k: Tensor, v: Tensor, { scale, mask, softcap }: Options): { y: Tensor; steps: readonly Tensor[] } {
  const raw = scaleShift(matmul(q, k, false, true), scale)
  const capped = softcap === 0 ? raw : scaleShift(tanh(scaleShift(raw, 1 / softcap)), softcap)
  const masked = mask ? add(capped, mask) : capped
  // A row of -Infinity alone has NaN weights, which count as 0.
  const soft = softmax(masked, -1)
  const weights = mask ? where(equalSelf(soft), soft, full([], 0, soft.dtype)) : soft
  return { y: matmul(weights, v), steps: [raw, capped, masked, weights] }
}

const both = (a: Tensor | null, b: Tensor): Tensor => (a ? add(a, b) : b)

/** 0 where i + offset - left <= key j <= i + offset + right, else -Infinity: [B or 1, 1, T, S]. */
function frontier(t: number, s: number, offsets: readonly number[], left = Infinity, right = 0): Tensor {
  const values = new Float32Array(offsets.length * t * s)
  offsets.forEach((offset, b) => {
    for (let i = 0; i < t; i++)
      for (let j = 0; j < s; j++) if (j < i + offset - left || j > i + offset + right) values[(b * t + i) * s + j] = -Infinity
  })
  return tensor(values, [offsets.length, 1, t, s])
}
/** 0 for the first n keys of each batch, else -Infinity: [B, 1, 1, S]. */
function lengthsMask(lengths: readonly number[], s: number): Tensor {
  return tensor(
    Float32Array.from({ length: lengths.length * s }, (_, i) => (i % s < lengths[Math.floor(i / s)]! ? 0 : -Infinity)),
    [lengths.length, 1, 1, s],
  )
}

/** A mask of booleans (true: seen) or floats as something to add, its last dimension filled up with -Infinity. */
function additive(m: Tensor, s: number): Tensor {
  const f = m.dtype === 'bool' ? where(cast(m, 'f32'), full([], 0), full([], -Infinity)) : m
  const wide = f.rank > 0 ? f.shape.at(-1)! : s
  return wide === s || wide === 1 ? f : concat([f, full([...f.shape.slice(0, -1), s - wide], -Infinity, f.dtype)], -1)
}

const equalSelf = (x: Tensor): Tensor => equal(x, x)

defineOnnxOp('Attention', {
  since: [23, 24, 25],
  inputs: [3, 7],
  channels: attends({ queries: 'q_num_heads', keys: 'kv_num_heads' }),
  infer: (_, [q, k, v], node) => {
    const [a, b, c] = [q?.shape, k?.shape, v?.shape]
    if (!a || !c || !b) return [valueType(q?.dtype)]
    const groups = intAttribute(node, 'kv_num_heads', 1)
    const y: Dim[] =
      a.length === 4
        ? [...a.slice(0, 3), c[3]!]
        : [a[0]!, a[1]!, typeof c[2] === 'number' ? (c[2] / groups) * intAttribute(node, 'q_num_heads', 1) : null]
    return [valueType(q?.dtype, y)]
  },
  run: (ctx, [query, key, value, mask, pastKey, pastValue, nonpad], node) => {
    const raw = [query, key, value].map((x) => ctx.tensor(x)) as [Tensor, Tensor, Tensor]
    const flat = raw[0].rank === 3
    const [n, groups] = flat
      ? [intAttribute(node, 'q_num_heads'), intAttribute(node, 'kv_num_heads')]
      : [raw[0].shape[1]!, raw[1].shape[1]!]
    if (!(n >= 1 && groups >= 1 && n % groups === 0)) ctx.fail('ERR_SHAPE', `${n} heads do not share ${groups} heads of keys`)
    const q = heads(raw[0], n)
    const [newK, newV] = [heads(raw[1], groups), heads(raw[2], groups)]
    const k = pastKey === undefined ? newK : concat([ctx.tensor(pastKey), newK], 2)
    const v = pastValue === undefined ? newV : concat([ctx.tensor(pastValue), newV], 2)
    const [t, s] = [q.shape[2]!, k.shape[2]!]
    const lengths = nonpad === undefined ? undefined : list(ctx, nonpad)
    let bias = mask === undefined ? null : additive(ctx.tensor(mask), s)
    const causal = intAttribute(node, 'is_causal', 0) !== 0
    const offsets = lengths ? lengths.map((m) => m - t) : [pastKey === undefined ? 0 : s - newK.shape[2]!]
    const plain = causal && !lengths && offsets[0] === s - t
    if (causal && !plain) bias = both(bias, frontier(t, s, offsets))
    const [left, right] = ['left_window_size', 'right_window_size'].map((name) => {
      const size = intAttribute(node, name, -1)
      return size < 0 ? Infinity : size
    }) as [number, number]
    if (left < Infinity || right < Infinity) bias = both(bias, frontier(t, s, offsets, left, right))
    if (lengths) bias = both(bias, lengthsMask(lengths, s))
    const softcap = floatAttribute(node, 'softcap', 0)
    const scale = hasAttribute(node, 'scale') ? floatAttribute(node, 'scale') : 1 / Math.sqrt(q.shape[3]!)
    const [wideK, wideV] = [shared(k, n), shared(v, n)]
    if (!node.outputs[3]) {
      const y = attend(q, wideK, wideV, { scale, mask: bias, causal: plain, softcap })
      return [flat ? together(y) : y, k, v]
    }
    const seen = plain ? both(bias, frontier(t, s, offsets)) : bias
    const { y, steps } = scored(q, wideK, wideV, { scale, mask: seen, causal: false, softcap })
    return [
      flat ? together(y) : y,
      k,
      v,
      steps[intAttribute(node, 'qk_matmul_output_mode', 0)] ?? ctx.fail('ERR_MODEL_FORMAT', 'qk_matmul_output_mode must be 0 to 3'),
    ]
  },
})

// ONNX Runtime's operators.

/** What hides keys: lengths [B], or 0 and 1 [B, S] or [B, T, S]. */
function keyMask(ctx: RunContext, mask: Value | undefined, s: number, filter: number): Tensor | null {
  if (mask === undefined) return null
  const m = ctx.tensor(mask)
  if (m.rank === 1) {
    const lengths = list(ctx, mask)
    return lengthsMask(lengths, s)
  }
  const f = cast(m, 'f32')
  const hidden = scaleShift(f, -filter, filter)
  return reshape(hidden, m.rank === 2 ? [m.shape[0]!, 1, 1, m.shape[1]!] : [m.shape[0]!, 1, ...m.shape.slice(1)])
}

defineOnnxOp('Attention', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [2, 7],
  infer: (_, [x, w], node): ValueType[] => {
    const sizes = intsAttribute(node, 'qkv_hidden_sizes', [])
    const width = sizes[2] ?? (typeof w?.shape?.[1] === 'number' ? w.shape[1] / 3 : null)
    return [valueType(x?.dtype, x?.shape && [x.shape[0]!, x.shape[1]!, width])]
  },
  run: (ctx, [input, weights, bias, mask, past, attentionBias], node) => {
    const [x, w] = [ctx.tensor(input), ctx.tensor(weights)]
    const n = intAttribute(node, 'num_heads')
    const [b, t, c] = x.shape as [number, number, number]
    if (x.rank !== 3 || w.rank !== 2 || w.shape[0] !== c)
      ctx.fail('ERR_SHAPE', `x must be [B, T, C] and the weights [C, ...], got ${x} and ${w}`)
    const total = w.shape[1]!
    const sizes = intsAttribute(node, 'qkv_hidden_sizes', [total / 3, total / 3, total / 3])
    if (sizes.length !== 3 || sizes[0]! + sizes[1]! + sizes[2]! !== total || sizes.some((z) => !(z > 0 && z % n === 0)))
      ctx.fail('ERR_SHAPE', `[${sizes.join(',')}] do not make ${total} columns for ${n} heads`)
    const qkv = linear(x, permute(w, [1, 0]), bias === undefined ? null : ctx.tensor(bias))
    let from = 0
    const [q, newK, newV] = sizes.map((size) => {
      const part = slice(qkv, [0, 0, from], [b, t, size])
      from += size
      return heads(part, n)
    }) as [Tensor, Tensor, Tensor]
    const before = past === undefined ? undefined : ctx.tensor(past)
    const half = (p: Tensor, i: number): Tensor => reshape(slice(p, [i, 0, 0, 0, 0], [1, ...p.shape.slice(1)]), p.shape.slice(1))
    const k = before ? concat([half(before, 0), newK], 2) : newK
    const v = before ? concat([half(before, 1), newV], 2) : newV
    const s = k.shape[2]!
    const hidden = keyMask(ctx, mask, s, floatAttribute(node, 'mask_filter_value', -10000))
    const extra = attentionBias === undefined ? null : ctx.tensor(attentionBias)
    const given = floatAttribute(node, 'scale', 0)
    const y = attend(q, k, v, {
      scale: given === 0 ? 1 / Math.sqrt(q.shape[3]!) : given,
      mask: hidden && extra ? add(hidden, extra) : (hidden ?? extra),
      causal: intAttribute(node, 'unidirectional', 0) !== 0,
      softcap: 0,
    })
    const present = node.outputs[1] ? [concat([reshape(k, [1, ...k.shape]), reshape(v, [1, ...v.shape])])] : []
    return [together(y), ...present]
  },
})

defineOnnxOp('MultiHeadAttention', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [1, 8],
  channels: attends({ queries: 'num_heads', keys: 'num_heads', bias: 3 }),
  infer: (_, [q, , v]) => [
    valueType(q?.dtype, q?.shape?.length === 3 && v?.shape?.length === 3 ? [q.shape[0]!, q.shape[1]!, v.shape[2]!] : undefined),
  ],
  run: (ctx, [query, key, value, bias, mask, attentionBias, pastKey, pastValue], node) => {
    const n = intAttribute(node, 'num_heads')
    const x = ctx.tensor(query)
    if (x.rank !== 3 || key === undefined || value === undefined)
      ctx.fail('ERR_UNSUPPORTED', 'query, key and value packed into one input are not supported')
    const [k0, v0] = [ctx.tensor(key), ctx.tensor(value)]
    const b = bias === undefined ? null : ctx.tensor(bias)
    const width = x.shape[2]!
    const plus = (t: Tensor, from: number): Tensor => (b && t.rank === 3 ? add(t, slice(b, [from], [t.shape[2]!])) : t)
    const q = heads(plus(x, 0), n)
    const [newK, newV] = [heads(plus(k0, width), n), heads(plus(v0, 2 * width), n)]
    const k = pastKey === undefined ? newK : concat([ctx.tensor(pastKey), newK], 2)
    const v = pastValue === undefined ? newV : concat([ctx.tensor(pastValue), newV], 2)
    const hidden = keyMask(ctx, mask, k.shape[2]!, floatAttribute(node, 'mask_filter_value', -10000))
    const extra = attentionBias === undefined ? null : ctx.tensor(attentionBias)
    const given = floatAttribute(node, 'scale', 0)
    const y = attend(q, k, v, {
      scale: given === 0 ? 1 / Math.sqrt(q.shape[3]!) : given,
      mask: hidden && extra ? add(hidden, extra) : (hidden ?? extra),
      causal: intAttribute(node, 'unidirectional', 0) !== 0,
      softcap: 0,
    })
    return [together(y), k, v]
  },
})

defineOnnxOp('GroupQueryAttention', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [7, 12],
  channels: attends({ queries: 'num_heads', keys: 'kv_num_heads' }),
  hostInputs: [5, 6],
  infer: (_, [q, k], node) => {
    const [n, groups] = [intAttribute(node, 'num_heads'), intAttribute(node, 'kv_num_heads')]
    const width = q?.shape?.[2]
    return [
      valueType(
        q?.dtype,
        q?.shape && [q.shape[0]!, q.shape[1]!, k ? width! : typeof width === 'number' ? (width / (n + 2 * groups)) * n : null],
      ),
    ]
  },
  run: (ctx, [query, key, value, pastKey, pastValue, lengths, , cos, sin], node) => {
    const [n, groups] = [intAttribute(node, 'num_heads'), intAttribute(node, 'kv_num_heads')]
    if (intAttribute(node, 'local_window_size', -1) !== -1 || intAttribute(node, 'smooth_softmax', 0) > 0)
      ctx.fail('ERR_UNSUPPORTED', 'local windows and smooth softmax are not supported')
    const x = ctx.tensor(query)
    const [b, t, width] = x.shape as [number, number, number]
    const packed = key === undefined
    const d = packed ? width / (n + 2 * groups) : width / n
    const cut = (from: number, count: number): Tensor => slice(x, [0, 0, from * d], [b, t, count * d])
    const parts = packed ? [cut(0, n), cut(n, groups), cut(n + groups, groups)] : [x, ctx.tensor(key), ctx.tensor(value)]
    let [q, k] = [heads(parts[0]!, n), heads(parts[1]!, groups)]
    const v0 = heads(parts[2]!, groups)
    // seqlens_k holds the number of keys of each batch less one, this step's included.
    const totals = list(ctx, lengths).map((m) => m + 1)
    const most = Math.max(...totals)
    if (totals.some((m) => m !== most)) ctx.fail('ERR_UNSUPPORTED', 'sequences of different lengths in one batch are not supported')
    const before = most - t
    if (intAttribute(node, 'do_rotary', 0) !== 0) {
      const positions = tensor(
        Int32Array.from({ length: t }, (_, i) => before + i),
        [1, t],
      )
      const [c, s] = [rowsAt(ctx.tensor(cos), positions), rowsAt(ctx.tensor(sin), positions)]
      const how = { interleaved: intAttribute(node, 'rotary_interleaved', 0) !== 0, dim: 2 * c.shape[2]! }
      q = turned(q, c, s, how)
      k = turned(k, c, s, how)
    }
    const kept = (past: Value | undefined, fresh: Tensor): Tensor => {
      const p = past === undefined ? undefined : ctx.tensor(past)
      return p && before > 0 ? concat([slice(p, [0, 0, 0, 0], [b, groups, before, d]), fresh], 2) : fresh
    }
    const [allK, allV] = [kept(pastKey, k), kept(pastValue, v0)]
    const given = floatAttribute(node, 'scale', 0)
    const y = attend(q, shared(allK, n), shared(allV, n), {
      scale: given === 0 ? 1 / Math.sqrt(d) : given,
      mask: null,
      causal: true,
      softcap: floatAttribute(node, 'softcap', 0),
    })
    return [together(y), allK, allV]
  },
})
