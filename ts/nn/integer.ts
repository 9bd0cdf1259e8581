/**
 * A net that computes on integers alone (Jacob et al. 2018, section 2): activations are u8 codes, weights i8, sums and biases i32 with the scale S_w S_x, and what goes
 * from one layer to the next is rescaled by fixed-point factors (fixed-point.ts). Floating numbers stand at the two ends: the input is rounded to codes, the sums of the
 * last layer are given in their unit. Batch norms are part of the factors, ReLU is a limit of the codes.
 *
 * Steps run in order; each reads and writes values by number. Convolutions are products over windows, which are views of the padded codes; padding is the code of 0.
 */
import { z } from 'zod'
import { ModelFormatError, ShapeError } from '../base/errors.js'
import type { JsonObject } from '../base/json-types.js'
import { cast, concat, permute, qgemmPack, qgemmS32, qmatmulFixed, quantizeRows, reshape, scaleShift, slice } from '../ops/index.js'
import { keep, scope, tensor, type Tensor } from '../tensor/index.js'
import { defineModule, single, type Module, type ModuleSpec } from './module.js'
import { rescale, roundingShift, type FixedPoint } from './weight/fixed-point.js'
import type { QuantizedWeight } from './weight/quantized.js'

const register = z.int().nonnegative().max(1e6)
const code = z.int().min(0).max(255)
const pair = z.tuple([z.int().positive(), z.int().positive()])
const padding = z.tuple([z.int().nonnegative(), z.int().nonnegative()])
const fixed = z.strictObject({
  multiplier: z
    .int()
    .nonnegative()
    .max(2 ** 31 - 1),
  exponent: z.int().min(-31).max(30),
})

/** Bits that a sum keeps behind the point of the result's unit until it is rounded. */
export const SUM_BITS = 10

const steps = {
  /** x / scale to the nearest code. */
  quantize: z.strictObject({ op: z.literal('quantize'), to: register, scale: z.number().positive(), zero: code }),
  /** Product `layer`: codes out, or i32 sums with `to32`. */
  product: z.strictObject({
    op: z.literal('product'),
    from: register,
    to: register,
    layer: z.string(),
    /** Of the filters [O, C / groups, kh, kw]; without, a matrix. */
    window: z.strictObject({ kernel: pair, stride: pair, padding, dilation: pair.optional() }).optional(),
    /** Runs of channels that see each other only; default 1. */
    groups: z.int().positive().optional(),
    xZero: code,
    yZero: code,
    limits: z.tuple([code, code]),
    to32: z.boolean().default(false),
  }),
  /** Sum of i32 sums of products (by row factors of `layer`) and codes (by one factor). */
  sum: z.strictObject({
    op: z.literal('sum'),
    from: z.array(
      z.union([z.strictObject({ sums: register, layer: z.string() }), z.strictObject({ codes: register, zero: code, factor: fixed })]),
    ),
    to: register,
    yZero: code,
    limits: z.tuple([code, code]),
  }),
  max: z.strictObject({
    op: z.literal('max'),
    from: register,
    to: register,
    window: z.strictObject({ kernel: pair, stride: pair, padding }),
  }),
  /** Of windows, or without of all places [B, C, ...] -> [B, C]. */
  mean: z.strictObject({
    op: z.literal('mean'),
    from: register,
    to: register,
    window: z.strictObject({ kernel: pair, stride: pair, padding: z.tuple([z.literal(0), z.literal(0)]) }).optional(),
  }),
  flatten: z.strictObject({ op: z.literal('flatten'), from: register, to: register }),
  clamp: z.strictObject({ op: z.literal('clamp'), from: register, to: register, limits: z.tuple([code, code]) }),
  /** The last sums in their unit: one scale per output. */
  /** `flatten`: one row of numbers for each example, whatever the sums are. */
  give: z.strictObject({
    op: z.literal('give'),
    from: register,
    layer: z.string(),
    scale: z.array(z.number()),
    flatten: z.literal(true).optional(),
  }),
} as const
const step = z.discriminatedUnion('op', [
  steps.quantize,
  steps.product,
  steps.sum,
  steps.max,
  steps.mean,
  steps.flatten,
  steps.clamp,
  steps.give,
])
export type IntegerStep = z.output<typeof step>
type Window = {
  readonly kernel: readonly [number, number]
  readonly stride: readonly [number, number]
  readonly padding: readonly [number, number]
  readonly dilation?: readonly [number, number] | undefined
}

const config = z
  .strictObject({
    /** Shapes of the weights by layer. */
    layers: z.record(z.string(), z.array(z.int().positive()).min(2)),
    steps: z.array(step).min(1).max(100_000),
  })
  .superRefine(({ layers, steps }, context) => {
    const known = new Set<number>()
    const wrong = (i: number, message: string): void => context.addIssue({ code: 'custom', path: ['steps', i], message })
    for (const [i, s] of steps.entries()) {
      const parts = s.op === 'sum' ? s.from : []
      const read = s.op === 'quantize' ? [] : s.op === 'sum' ? s.from.map((p) => ('sums' in p ? p.sums : p.codes)) : [s.from]
      const used = [...('layer' in s ? [s.layer] : []), ...parts.flatMap((p) => ('sums' in p ? [p.layer] : []))]
      if (s.op === 'sum' && read.length === 0) wrong(i, 'a sum needs summands')
      for (const r of read) if (!known.has(r)) wrong(i, `no step before it writes value ${r}`)
      for (const name of used) if (!Object.hasOwn(layers, name)) wrong(i, `there is no layer ${JSON.stringify(name)}`)
      if (s.op === 'product' && s.groups !== undefined && (layers[s.layer]?.[0] ?? 0) % s.groups !== 0)
        wrong(i, `${s.groups} groups do not divide the rows of ${s.layer}`)
      if (s.op === 'product' && s.groups !== undefined && !s.window) wrong(i, 'groups are for windows, this is a matrix')
      if ((s.op === 'give') !== (i === steps.length - 1)) wrong(i, "the last step, and no other, is 'give'")
      if ('to' in s) known.add(s.to)
    }
  })
export type IntegerConfig = z.infer<typeof config>

interface Layer {
  /** By group. */
  readonly packed: readonly Tensor[]
  readonly factors: FixedPoint[]
}
const packs = new WeakMap<QuantizedWeight, Layer>()

const make = defineModule({
  kind: 'integer',
  config: config as unknown as z.ZodType<JsonObject>,
  weights: (c) =>
    Object.fromEntries(
      Object.entries(layersOf(c)).map(([name, shape]) => [
        name,
        {
          shape,
          role: shape.length === 2 ? ('matrix' as const) : ('kernel' as const),
          init: () => new Float32Array(shape.reduce((a, b) => a * b, 1)),
        },
      ]),
    ),
  state: (c) =>
    Object.fromEntries(
      Object.entries(layersOf(c)).flatMap(([name, [rows]]) =>
        ['bias', 'multiplier', 'exponent'].map((part) => [`${name}_${part}`, { shape: [rows!], value: 0, dtype: 'i32' as const }]),
      ),
    ),
  forward: (m, c, input) => {
    const values = new Map<number, Tensor>()
    let last: Tensor | undefined
    for (const s of (c as unknown as IntegerConfig).steps) {
      if (s.op === 'quantize') values.set(s.to, codesOf(single('integer', input), s.scale, s.zero))
      else if (s.op === 'give') last = scope(() => given(m, s, values.get(s.from)!))
      else if (s.op === 'sum') values.set(s.to, added(m, s, values))
      else
        values.set(
          s.to,
          scope(() => run(m, s, values.get(s.from)!)),
        )
    }
    return last!
  },
})

const layersOf = (c: JsonObject): IntegerConfig['layers'] => (c as unknown as IntegerConfig).layers

/** The spec of a net of steps; `integerOnly` of the compression makes one of a quantized model. */
export function integerNet(of: IntegerConfig): ModuleSpec {
  return make(of as unknown as JsonObject)
}

function codesOf(x: Tensor, scale: number, zero: number): Tensor {
  return scope(() => {
    const q = quantizeRows(reshape(x, [1, x.size]), tensor([[scale]]), tensor([[zero - 128]]), -128, 127).read() as Int8Array
    return tensor(
      Uint8Array.from(q, (v) => v + 128),
      x.shape,
    )
  })
}

function run(m: Module, s: Exclude<IntegerStep, { op: 'quantize' | 'give' | 'sum' }>, x: Tensor): Tensor {
  switch (s.op) {
    case 'flatten':
      return reshape(x, [x.shape[0]!, x.size / x.shape[0]!])
    case 'clamp': {
      const [lo, hi] = s.limits
      return tensor(
        (x.read() as Uint8Array).map((v) => Math.min(hi, Math.max(lo, v))),
        x.shape,
      )
    }
    case 'max':
      return maxOf(x, s.window)
    case 'mean':
      return meanOf(x, s.window)
    case 'product':
      return product(m, s, x)
  }
}

type Product = Extract<IntegerStep, { op: 'product' }>

function product(m: Module, s: Product, x: Tensor): Tensor {
  const w = m.weights[s.layer] as QuantizedWeight
  const at = (part: string): Tensor => m.state[`${s.layer}_${part}`]!
  const rows = w.shape[0]!
  const { groups = 1 } = s
  const { packed } = layerOf(m, s.layer, groups)
  const seen = s.window ? windows(x, s.window, s.xZero) : x
  const one = (flat: Tensor, pack: Tensor, count: number, of: (part: string) => Tensor): Tensor =>
    s.to32
      ? withBias(qgemmS32(flat, pack, null, null, count, s.xZero), of('bias'))
      : qmatmulFixed(flat, pack, of('bias'), of('multiplier'), of('exponent'), null, count, s.xZero, 'u8', s.yZero, ...s.limits)
  if (!s.window) return one(x, packed[0]!, rows, at)
  const places = seen.shape[0]! * seen.shape[1]! * seen.shape[2]!
  const parts = packed.map((pack, g) => {
    const count = rows / groups
    const own = groups === 1 ? seen : channelsOf(seen, g, groups)
    return one(reshape(own, [places, own.size / places]), pack, count, (part) =>
      groups === 1 ? at(part) : slice(at(part), [g * count], [count]),
    )
  })
  const y = parts.length === 1 ? parts[0]! : concat(parts, 1)
  const [b, h, width] = seen.shape as [number, number, number]
  const channels = permute(reshape(y, [b, h, width, rows]), [0, 3, 1, 2])
  return reshape(channels, [b, rows, h, width])
}

/** The channels of a group, of windows [B, H, W, C, kh, kw]. */
function channelsOf(seen: Tensor, group: number, groups: number): Tensor {
  const [b, h, w, c, kh, kw] = seen.shape as [number, number, number, number, number, number]
  if (c % groups !== 0) throw new ShapeError('ERR_SHAPE', `integer: ${c} channels are no ${groups} groups`)
  return slice(seen, [0, 0, 0, (group * c) / groups, 0, 0], [b, h, w, c / groups, kh, kw])
}

function withBias(sums: Tensor, bias: Tensor): Tensor {
  const [v, b] = [sums.read() as Int32Array, bias.read() as Int32Array]
  return tensor(
    v.map((x, i) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, x + b[i % b.length]!))),
    sums.shape,
  )
}

/** Packed once per weight and process. */
function layerOf(m: Module, name: string, groups = 1): Layer {
  const w = m.weights[name] as QuantizedWeight
  let found = packs.get(w)
  if (!found) {
    if (w.kind !== 'quantized' || w.zero)
      throw new ModelFormatError('ERR_MODEL_FORMAT', `integer: the weight of ${name} must be symmetric codes, got ${w.description}`)
    const [multiplier, exponent] = ['multiplier', 'exponent'].map((part) => m.state[`${name}_${part}`]!.read() as Int32Array)
    const rows = w.shape[0]! / groups
    const packed = Array.from({ length: groups }, (_, g) =>
      keep(qgemmPack(groups === 1 ? w.q : slice(w.q, [g * rows, 0], [rows, w.q.shape[1]!]))),
    )
    found = { packed, factors: Array.from(multiplier!, (v, i) => ({ multiplier: v, exponent: exponent![i]! })) }
    packs.set(w, found)
  }
  return found
}

/** [B, C, H, W] -> a view [B, H', W', C, kh, kw] of x with `fill` around it. */
function windows(x: Tensor, { kernel, stride, padding: around, dilation = [1, 1] }: Window, fill: number): Tensor {
  const [b, c, h, w] = x.shape as [number, number, number, number]
  const [ph, pw] = around
  const [height, width] = [h + 2 * ph, w + 2 * pw]
  const reach = kernel.map((k, i) => (k - 1) * dilation[i]! + 1) as [number, number]
  const rows = Math.floor((height - reach[0]) / stride[0]) + 1
  const cols = Math.floor((width - reach[1]) / stride[1]) + 1
  if (x.rank !== 4 || rows < 1 || cols < 1) throw new ShapeError('ERR_SHAPE', `integer: ${x} has no window of [${kernel}]`)
  const codes = x.read() as Uint8Array
  const padded = ph + pw === 0 ? codes : new Uint8Array(b * c * height * width).fill(fill)
  if (ph + pw > 0)
    for (let i = 0; i < b * c * h; i++)
      padded.set(codes.subarray(i * w, (i + 1) * w), (Math.floor(i / h) * height + ph + (i % h)) * width + pw)
  const plane = height * width
  return tensor(padded, [b, c, height, width]).view(
    [b, rows, cols, c, kernel[0], kernel[1]],
    [c * plane, stride[0] * width, stride[1], plane, dilation[0] * width, dilation[1]],
  )
}

function maxOf(x: Tensor, window: Window): Tensor {
  const seen = windows(x, window, 0)
  const [b, h, w, c, kh, kw] = seen.shape as [number, number, number, number, number, number]
  const values = reshape(permute(seen, [0, 3, 1, 2, 4, 5]), [b * c * h * w, kh * kw]).read() as Uint8Array
  const out = new Uint8Array(b * c * h * w)
  for (let i = 0, k = 0; i < out.length; i++) for (let j = 0; j < kh * kw; j++, k++) if (values[k]! > out[i]!) out[i] = values[k]!
  return tensor(out, [b, c, h, w])
}

/** Halves upwards; the scale of a mean is that of its elements. */
function meanOf(x: Tensor, window: Window | undefined): Tensor {
  const seen = window && windows(x, window, 0)
  const [b, c] = x.shape as [number, number]
  const flat = seen
    ? reshape(permute(seen, [0, 3, 1, 2, 4, 5]), [b * c * seen.shape[1]! * seen.shape[2]!, window.kernel[0] * window.kernel[1]])
    : reshape(x, [b * c, x.size / (b * c)])
  const [rows, n] = flat.shape as [number, number]
  const values = flat.read() as Uint8Array
  const out = Uint8Array.from({ length: rows }, (_, i) => {
    let sum = 0
    for (let j = i * n; j < (i + 1) * n; j++) sum += values[j]!
    return Math.floor((2 * sum + n) / (2 * n))
  })
  return tensor(out, seen ? [b, c, seen.shape[1]!, seen.shape[2]!] : [b, c])
}

function added(m: Module, s: Extract<IntegerStep, { op: 'sum' }>, values: ReadonlyMap<number, Tensor>): Tensor {
  let shape: readonly number[] = []
  let total: Float64Array | undefined
  for (const part of s.from) {
    const x = values.get('sums' in part ? part.sums : part.codes)!
    const v = x.read() as Int32Array | Uint8Array
    shape = x.shape
    total ??= new Float64Array(v.length)
    if (v.length !== total.length) throw new ShapeError('ERR_SHAPE', `integer: a sum of values of different shapes (${x})`)
    if ('sums' in part) {
      const { factors } = layerOf(m, part.layer)
      const inner = x.rank === 4 ? x.shape[2]! * x.shape[3]! : 1
      for (let i = 0; i < v.length; i++) total[i]! += rescale(v[i]!, factors[Math.floor(i / inner) % factors.length]!)
    } else for (let i = 0; i < v.length; i++) total[i]! += rescale(v[i]! - part.zero, part.factor)
  }
  const [lo, hi] = s.limits
  return tensor(
    Uint8Array.from(total!, (v) => Math.min(hi, Math.max(lo, roundingShift(v, SUM_BITS) + s.yZero))),
    shape,
  )
}

function given(_m: Module, s: Extract<IntegerStep, { op: 'give' }>, sums: Tensor): Tensor {
  const y = unitsOf(s, sums)
  return s.flatten ? reshape(y, [y.shape[0]!, y.size / Math.max(1, y.shape[0]!)]) : y
}

function unitsOf(s: Extract<IntegerStep, { op: 'give' }>, sums: Tensor): Tensor {
  const floats = cast(sums, 'f32')
  if (s.scale.length === 1) return scaleShift(floats, s.scale[0]!, 0)
  const values = floats.read() as Float32Array
  const inner = sums.rank === 4 ? sums.shape[2]! * sums.shape[3]! : 1
  return tensor(
    values.map((v, i) => v * s.scale[Math.floor(i / inner) % s.scale.length]!),
    sums.shape,
  )
}
