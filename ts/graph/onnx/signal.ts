/** Fourier transforms as products with tables of cosines and sines (differentiable), windows, mel weights. */
import { add, concat, gather, mul, padSlice, permute, reshape, scaleShift, slice, sub, matmul } from '../../ops/index.js'
import { tensor, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute, type RunContext, type Value } from '../define.js'
import { HostTensor } from '../host.js'
import { axisOf, numbers, valueType } from '../infer.js'
import { typeAttribute } from './cast.js'
import { checkCount } from './move.js'
import { list } from './values.js'

/** Elements of one table; n x n beyond it asks for an algorithm that is not here. */
const MAX_TABLE = 2 ** 25

/** cos and sin of 2 pi n k / length, [length, bins]. */
function tables(ctx: RunContext, length: number, bins: number, dtype: Tensor['dtype']): { c: Tensor; s: Tensor } {
  if (length * bins > MAX_TABLE) ctx.fail('ERR_LIMIT', `a transform of ${length} elements: ${MAX_TABLE} products are the most`)
  const make = (f: (x: number) => number): Tensor => {
    const values = dtype === 'f64' ? new Float64Array(length * bins) : new Float32Array(length * bins)
    for (let n = 0; n < length; n++) for (let k = 0; k < bins; k++) values[n * bins + k] = f((2 * Math.PI * ((n * k) % length)) / length)
    return tensor(values, [length, bins])
  }
  return { c: make(Math.cos), s: make(Math.sin) }
}

interface Complex {
  readonly re: Tensor
  readonly im: Tensor | undefined
}

/** Real and imaginary part [..., n] of x [..., n, 1 or 2]. */
function parts(x: Tensor): Complex {
  const inner = x.shape.slice(0, -1)
  const part = (i: number): Tensor => reshape(slice(x, [...inner.map(() => 0), i], [...inner, 1]), inner)
  return { re: part(0), im: x.shape.at(-1) === 2 ? part(1) : undefined }
}
const joined = (re: Tensor, im: Tensor): Tensor => concat([reshape(re, [...re.shape, 1]), reshape(im, [...im.shape, 1])], re.rank)

/** The transform over the last dimension. */
function transform(ctx: RunContext, { re, im }: Complex, bins: number, inverse: boolean): Tensor {
  const length = re.shape.at(-1)!
  const { c, s } = tables(ctx, length, bins, re.dtype)
  const [p, q] = [matmul(re, c), matmul(re, s)]
  const scale = inverse ? 1 / length : 1
  const sign = inverse ? 1 : -1
  const real = im ? (inverse ? sub(p, matmul(im, s)) : add(p, matmul(im, s))) : p
  const turned = scaleShift(q, sign)
  const imaginary = im ? add(turned, matmul(im, c)) : turned
  return inverse ? joined(scaleShift(real, scale), scaleShift(imaginary, scale)) : joined(real, imaginary)
}

defineOnnxOp('DFT', {
  since: [17, 20],
  inputs: [1, 3],
  hostInputs: [1, 2],
  infer: (_, [x]) => [
    valueType(
      x?.dtype,
      x?.shape?.map((_, i) => (i === x.shape!.length - 1 ? 2 : null)),
    ),
  ],
  run: (ctx, [x, length, axisInput], node) => {
    const t = ctx.tensor(x)
    if (t.rank < 2 || (t.shape.at(-1) !== 1 && t.shape.at(-1) !== 2)) ctx.fail('ERR_SHAPE', `x must be [..., n, 1 or 2], got ${t}`)
    const named = ctx.version < 20 ? intAttribute(node, 'axis', 1) : axisInput === undefined ? -2 : list(ctx, axisInput)[0]!
    const axis = axisOf(ctx, named, t.rank)
    if (axis === t.rank - 1) ctx.fail('ERR_SHAPE', 'the last dimension holds real and imaginary parts')
    const [inverse, half] = [intAttribute(node, 'inverse', 0) !== 0, intAttribute(node, 'onesided', 0) !== 0]
    const n = length === undefined ? t.shape[axis]! : list(ctx, length)[0]!
    if (!(Number.isInteger(n) && n >= 1)) ctx.fail('ERR_SHAPE', `the length must be >= 1, got ${n}`)
    if (half && inverse) ctx.fail('ERR_UNSUPPORTED', 'the inverse of half a spectrum is not supported')
    const order = t.shape.map((_, i) => i).filter((i) => i !== axis && i !== t.rank - 1)
    const moved = permute(t, [...order, axis, t.rank - 1])
    const shape = [...moved.shape.slice(0, -2), n, moved.shape.at(-1)!]
    const zero = shape.map(() => 0)
    const fitted = n === moved.shape.at(-2) ? moved : n < moved.shape.at(-2)! ? slice(moved, zero, shape) : padSlice(moved, shape, zero)
    const y = transform(ctx, parts(fitted), half ? Math.floor(n / 2) + 1 : n, inverse)
    const from = [...order, axis, t.rank - 1]
    return permute(
      y,
      from.map((_, i) => from.indexOf(i)),
    )
  },
})

defineOnnxOp('STFT', {
  since: [17],
  inputs: [2, 4],
  hostInputs: [1, 3],
  infer: (_, [x]) => [valueType(x?.dtype, [x?.shape?.[0] ?? null, null, null, 2])],
  run: (ctx, [x, step, window, frame], node) => {
    const t = ctx.tensor(x)
    if (t.rank !== 3) ctx.fail('ERR_SHAPE', `the signal must be [B, L, 1 or 2], got ${t}`)
    const [b, length, width] = t.shape as [number, number, number]
    const hop = list(ctx, step)[0]!
    const w = window === undefined ? undefined : ctx.tensor(window)
    const size = frame === undefined ? (w?.size ?? 0) : list(ctx, frame)[0]!
    if (!(hop >= 1 && size >= 1 && size <= length) || (w && w.size !== size))
      ctx.fail('ERR_SHAPE', `frames of ${size} every ${hop} do not fit ${length} elements`)
    const frames = Math.floor((length - size) / hop) + 1
    checkCount(ctx, frames * size)
    const index = Int32Array.from({ length: frames * size }, (_, i) => Math.floor(i / size) * hop + (i % size))
    // [frames, size, B, width] to [B, frames, size, width]
    const cut = permute(gather(permute(t, [1, 0, 2]), tensor(index, [frames, size])), [2, 0, 1, 3])
    const weighted = w ? mul(cut, reshape(w, [size, 1])) : cut
    const bins = intAttribute(node, 'onesided', 1) !== 0 ? Math.floor(size / 2) + 1 : size
    return transform(ctx, parts(reshape(weighted, [b, frames, size, width])), bins, false)
  },
})

function windowOp(name: string, f: (angle: number) => number): void {
  defineOnnxOp(name, {
    since: [17],
    inputs: [1, 1],
    hostInputs: [0],
    infer: (ctx, [size], node) => [valueType(typeAttribute(ctx, node, 'output_datatype', 'f32'), [numbers(size?.value)?.[0] ?? null])],
    run: (ctx, [size], node) => {
      const n = list(ctx, size)[0]!
      if (!(Number.isInteger(n) && n >= 0 && n < 2 ** 26)) ctx.fail('ERR_SHAPE', `the size must be in [0, 2^26), got ${n}`)
      const period = intAttribute(node, 'periodic', 1) !== 0 ? n : n - 1
      const dtype = typeAttribute(ctx, node, 'output_datatype', 'f32')
      const round = dtype === 'f32' ? Math.fround : (v: number): number => v
      return new HostTensor(
        dtype,
        [n],
        Array.from({ length: n }, (_, i) => round(f((2 * Math.PI * i) / period))),
      )
    },
  })
}
windowOp('HannWindow', (a) => 0.5 - 0.5 * Math.cos(a))
windowOp('HammingWindow', (a) => 25 / 46 - (21 / 46) * Math.cos(a))
windowOp('BlackmanWindow', (a) => 0.42 - 0.5 * Math.cos(a) + 0.08 * Math.cos(2 * a))

defineOnnxOp('MelWeightMatrix', {
  since: [17],
  inputs: [5, 5],
  hostInputs: [0, 1, 2, 3, 4],
  infer: (ctx, [bins, length], node) => {
    const n = numbers(length?.value)?.[0]
    return [
      valueType(typeAttribute(ctx, node, 'output_datatype', 'f32'), [
        n === undefined ? null : Math.floor(n / 2) + 1,
        numbers(bins?.value)?.[0] ?? null,
      ]),
    ]
  },
  run: (ctx, inputs, node) => {
    const [bins, length, rate, low, high] = inputs.map((v: Value | undefined) => list(ctx, v)[0]!) as [
      number,
      number,
      number,
      number,
      number,
    ]
    if (!(bins >= 1 && length >= 1 && bins * length < 2 ** 28 && rate > 0))
      ctx.fail('ERR_SHAPE', `${bins} bins of a transform of ${length}`)
    const mel = (f: number): number => 2595 * Math.log10(1 + f / 700)
    const step = (mel(high) - mel(low)) / (bins + 2)
    const edges = Array.from({ length: bins + 2 }, (_, i) =>
      Math.floor(((length + 1) * 700 * (10 ** ((i * step + mel(low)) / 2595) - 1)) / rate),
    )
    const rows = Math.floor(length / 2) + 1
    const out = new Float32Array(rows * bins)
    for (let i = 0; i < bins; i++) {
      const [a, b, c] = [edges[i]!, edges[i + 1]!, edges[i + 2]!]
      if (a === b && b < rows) out[b * bins + i] = 1
      else for (let j = a; j <= Math.min(b, rows - 1); j++) out[j * bins + i] = (j - a) / (b - a)
      for (let j = b; j < Math.min(c, rows); j++) out[j * bins + i] = (c - j) / (c - b)
    }
    return new HostTensor(typeAttribute(ctx, node, 'output_datatype', 'f32'), [rows, bins], Array.from(out))
  },
})
