/**
 * A trainable weight that multiplies as its integer codes would: values f32, rounded to the grid in every forward pass, with a gradient that passes straight through
 * the rounding. Behind the training `hardened` gives the codes, which compute the same.
 *
 *   scales      of the values' range, found again in every step (Jacob et al. 2018; Q8BERT: Zafrir et al. 2019), or learned (LSQ: Esser et al. 2020)
 *   zeros       stay exactly 0: the zero point is a whole code, and values under a 0 of `mask` stay 0 through every optimizer step
 *   input       the layer's input on a grid of its own (fake-input.ts); only where the layer multiplies through `apply`
 *   fold        path of the batch norm behind the layer: with one scale for all, values are rounded as w * gamma / sqrt(variance + eps), as they stand when the norm is
 *               folded into them (Jacob et al., section 3.2), and divided by the factor again, so that the norm goes on as it is, with batch statistics or without. The
 *               factor is a constant to the tape. With scales per channel it cancels out and is left out.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, OptionError, ShapeError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import { clipSte, fakeQuantize, mul, quantizeRows, rangeRows, reshape, type FakeQuantizeOptions } from '../../ops/index.js'
import { fromRaw, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import type { ForwardContext, Module } from '../module.js'
import { applyDense } from './apply.js'
import { checkPartShape, countNonzero } from './dense.js'
import { FakeInput, fakeInputSchema } from './fake-input.js'
import { codeRange, gridOf, legalScale, type CodeRange } from './grid.js'
import { checkPartNames, matrixShape, parseWeightConfig, partOf, withTemporary } from './parts.js'
import { QuantizedWeight } from './quantized.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

const schema = z.strictObject({
  bits: z.int().min(2).max(8),
  layout: z.enum(['tensor', 'channel', 'group']),
  groups: z.int().positive().default(1),
  mode: z.enum(['symmetric', 'affine']).default('symmetric'),
  gradient: z.enum(['straight', 'clipped', 'learned']),
  fold: z.string().optional(),
  input: fakeInputSchema.optional(),
  masked: z.literal(true).optional(),
})
/** `groups`: scales per row, 1 unless `layout` is 'group'. */
export type FakeConfig = Omit<z.output<typeof schema>, 'masked'>

export interface FakeParts {
  readonly value: Tensor
  readonly mask?: Tensor | null
  /** Learned scales [1, 1] or [rows, groups]; without, `FakeWeight.begin` makes them. */
  readonly step?: Tensor | null
  readonly input?: FakeInput | null
}

const LEAST_STEP = 1e-8

export class FakeWeight implements Weight {
  readonly kind = 'fake'
  readonly scheme: FakeConfig
  readonly value: Tensor
  readonly mask: Tensor | null
  readonly step: Tensor | null
  readonly input: FakeInput | null
  readonly #codes: CodeRange

  /** Takes over the tensors. */
  constructor(config: FakeConfig, { value, mask = null, step = null, input = null }: FakeParts) {
    const [rows, cols] = matrixShape('fake', value.shape)
    const { layout, groups, mode, gradient, bits } = config
    const learned = gradient === 'learned'
    const runs = Math.ceil(cols / groups)
    if (groups > cols || (groups > 1 && (layout !== 'group' || (groups - 1) * runs >= cols)))
      throw new ShapeError('ERR_SHAPE', `weight: ${groups} groups per ${layout} do not cut rows of ${cols} values`)
    if (learned && mode === 'affine') throw new OptionError('ERR_OPTION', 'weight: learned scales are for symmetric codes')
    if (input && (mode === 'affine' || layout === 'group'))
      throw new OptionError('ERR_OPTION', 'weight: a quantized input needs a symmetric weight with scales per tensor or per channel')
    const scales = layout === 'tensor' ? [1, 1] : [rows, groups]
    if (learned !== (step !== null) || (step && (step.rank !== 2 || step.shape.some((d, i) => d !== scales[i]))))
      throw new ShapeError('ERR_SHAPE', `weight: learned scales must be f32[${scales}], got ${step}`)
    const { input: _planned, ...scheme } = config
    this.scheme = input ? { ...scheme, input: input.config } : scheme
    this.value = value
    this.mask = mask
    this.step = step
    this.input = input
    // Where a norm is folded a row may change its sign: then both signs have as many codes.
    const whole = learned && !(config.fold !== undefined && layout === 'tensor')
    this.#codes = codeRange(bits, mode === 'symmetric', whole ? 'mse' : 'max')
  }

  /** Takes over the tensors; learned scales begin at 2 mean |w| / sqrt(largest code) (Esser et al. 2020, section 2.1). */
  static begin(config: FakeConfig, parts: FakeParts): FakeWeight {
    const step = config.gradient === 'learned' ? firstSteps(parts.value, config) : null
    return new FakeWeight(config, { ...parts, step })
  }

  get shape(): readonly number[] {
    return this.value.shape
  }
  get description(): string {
    const { bits, layout, groups, mode, gradient } = this.scheme
    const where = layout === 'group' ? `g${Math.ceil(matrixShape('fake', this.shape)[1] / groups)}` : `per ${layout}`
    const input = this.input ? `, ${this.input.config.bits}-bit input` : ''
    return `fake int${bits} ${where}${mode === 'affine' ? ' affine' : ''}${gradient === 'learned' ? ' learned' : ''}${input}`
  }
  get approximation(): string | undefined {
    if (this.input) return 'it rounds its inputs while it trains'
    return this.scheme.fold === undefined ? undefined : 'it rounds its values behind a folded batch norm'
  }
  bytes(): number {
    return [this.value, this.mask, this.step, this.input?.value].reduce((n, t) => n + (t?.bytes ?? 0), 0)
  }
  nonzeros(): number {
    return countNonzero(this.value)
  }

  /** The rounded values; without the model no norm is folded. */
  dense(): Tensor {
    return this.#rounded(undefined)
  }

  apply(x: Tensor, use: WeightUse, context?: ForwardContext): Tensor {
    const values = this.#rounded(context?.root)
    const input = use.op === 'lookup' || !this.input ? x : this.input.quantize(x, context)
    return withTemporary(input === x ? [values] : [values, input], () => applyDense(values, input, use))
  }

  #rounded(root: Module | undefined): Tensor {
    const factor = this.#factor(root)
    return scope(() => {
      if (!factor) return reshape(this.#round(this.value), this.shape)
      const along = [factor.length, ...this.shape.slice(1).map(() => 1)]
      const folded = mul(this.value, tensor(factor, along))
      return mul(
        reshape(this.#round(folded), this.shape),
        tensor(
          factor.map((f) => 1 / f),
          along,
        ),
      )
    })
  }

  #round(values: Tensor): Tensor {
    return scope(() => {
      const flat = reshape(values, this.#matrix())
      const { scale, zero } = this.#grid(flat)
      return fakeQuantize(flat, scale, zero, this.#options())
    })
  }

  #options(): FakeQuantizeOptions {
    const { qmin, qmax } = this.#codes
    const { gradient, mode } = this.scheme
    // A symmetric scale is the largest magnitude's: no value is clipped, the gradient passes everywhere, and there is nothing to compute.
    if (gradient !== 'learned') return { qmin, qmax, gradient: mode === 'symmetric' ? 'straight' : gradient }
    return { qmin, qmax, gradient, scaleGradient: 1 / Math.sqrt((this.value.size / this.step!.size) * qmax) }
  }

  /** As the scales see it: one run, or rows. */
  #matrix(): [number, number] {
    return this.scheme.layout === 'tensor' ? [1, this.value.size] : matrixShape('fake', this.shape)
  }

  #grid(flat: Tensor): { scale: Tensor; zero: Tensor | null } {
    if (this.step) return { scale: clipSte(this.step, LEAST_STEP, Infinity), zero: null }
    const { mode, groups } = this.scheme
    if (flat.size === 0) return { scale: tensor(new Float32Array(flat.shape[0]! * groups).fill(1), [flat.shape[0]!, groups]), zero: null }
    const [lo, hi] = rangeRows(flat, groups)
    const [least, most] = [lo.read() as Float32Array, hi.read() as Float32Array]
    const grids = Array.from(least, (min, i) => gridOf(min, most[i]!, mode === 'symmetric', this.#codes))
    const row = (of: (g: (typeof grids)[number]) => number): Tensor => tensor(Float32Array.from(grids, of), lo.shape)
    return { scale: row((g) => g.scale), zero: mode === 'affine' ? row((g) => g.zero) : null }
  }

  /** What the norm behind will multiply each row with; channels that it wipes out count as 1. */
  #factor(root: Module | undefined): Float32Array | undefined {
    const { fold, layout } = this.scheme
    if (fold === undefined || layout !== 'tensor' || !root) return undefined
    const norm = fold.split('.').reduce<Module | undefined>((m, name) => m?.children[name], root)
    const [gamma, variance] = [norm?.weights.gamma, norm?.state.variance]
    if (!gamma || !variance || variance.size !== this.shape[0])
      throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: there is no batch norm of ${this.shape[0]} channels at "${fold}"`)
    const { eps } = norm!.config as { readonly eps: number }
    const [g, v] = [scope(() => Float32Array.from(gamma.dense().read(), Number)), variance.read() as Float32Array]
    return g.map((x, i) => {
      const factor = x / Math.sqrt(v[i]! + eps)
      return Math.abs(factor) > 1e-6 ? factor : 1
    })
  }

  /**
   * The codes: a weight that gives what this one gives, to float rounding. `root`: the model's, where a norm is folded; the scales are then one per row.
   */
  hardened(root?: Module): QuantizedWeight {
    return scope(() => {
      const [rows, cols] = matrixShape('fake', this.shape)
      const factor = this.#factor(root)
      const values = factor ? mul(this.value, tensor(factor, [rows, ...this.shape.slice(1).map(() => 1)])) : this.value
      const flat = reshape(values, this.#matrix())
      const { scale, zero } = this.#grid(flat)
      const { qmin, qmax } = this.#codes
      const q = quantizeRows(flat, scale, zero, qmin, qmax).reshapeView([rows, cols])
      const { bits, layout } = this.scheme
      const input = this.input?.hardened() ?? null
      const parts = { shape: this.shape, bits, input }
      if (!factor) return new QuantizedWeight({ ...parts, layout, q, scale, zero })
      return new QuantizedWeight({ ...parts, layout: 'channel', ...unfolded(q, scale.item(), zero?.item() ?? null, factor) })
    })
  }

  parts(): Record<string, RawTensor> {
    return {
      value: toRaw(this.value),
      ...(this.mask ? { mask: toRaw(this.mask) } : {}),
      ...(this.step ? { step: toRaw(this.step) } : {}),
      ...(this.input ? { input: this.input.raw() } : {}),
    }
  }
  config(): Json {
    return JSON.parse(JSON.stringify({ ...this.scheme, ...(this.mask ? { masked: true } : {}) })) as Json
  }
  trainable(): readonly Leaf[] {
    const step: readonly Leaf[] = this.step ? [{ value: this.step, mask: null, part: 'step' }] : []
    return [{ value: this.value, mask: this.mask }, ...step, ...(this.input?.leaves() ?? [])]
  }
  state(): Readonly<Record<string, Tensor>> {
    return this.input?.state() ?? {}
  }
  dispose(): void {
    for (const t of [this.value, this.mask, this.step]) t?.dispose()
    this.input?.dispose()
  }
}

/** One scale for the folded values is one scale per row for the others; where the factor is below 0 codes and zero points change their signs (affine ones less 1, so that they fit). */
function unfolded(q: Tensor, scale: number, zero: number | null, factor: Float32Array): { q: Tensor; scale: Tensor; zero: Tensor | null } {
  const [rows, cols] = q.shape as [number, number]
  const codes = Int8Array.from(q.read() as Int8Array)
  const less = zero === null ? 0 : 1
  for (let r = 0; r < rows; r++) if (factor[r]! < 0) for (let i = r * cols; i < (r + 1) * cols; i++) codes[i] = -codes[i]! - less
  const perRow = (of: (f: number) => number): Tensor => tensor(factor.map(of), [rows, 1])
  return {
    q: tensor(codes, [rows, cols]),
    scale: perRow((f) => legalScale(scale / Math.abs(f))),
    zero: zero === null ? null : perRow((f) => (f < 0 ? -zero - 1 : zero)),
  }
}

function firstSteps(value: Tensor, { layout, groups, bits }: FakeConfig): Tensor {
  const [rows, cols] = layout === 'tensor' ? [1, value.size] : matrixShape('fake', value.shape)
  const values = scope(() => Float32Array.from(value.read(), Number))
  const run = Math.ceil(cols / groups)
  const { qmax } = codeRange(bits, true, 'mse')
  const steps = Float32Array.from({ length: rows * groups }, (_, i) => {
    const from = Math.floor(i / groups) * cols + (i % groups) * run
    const part = values.subarray(from, Math.min(from + run, (Math.floor(i / groups) + 1) * cols))
    const mean = part.reduce((sum, x) => sum + Math.abs(x), 0) / Math.max(1, part.length)
    return mean > 0 ? legalScale((2 * mean) / Math.sqrt(qmax)) : 1
  })
  return tensor(steps, [rows, groups])
}

export const fakeKind = defineWeightKind({
  kind: 'fake',
  restore: (parts, given, shape) => {
    const { masked, ...config } = parseWeightConfig('fake', schema, given)
    const learned = config.gradient === 'learned'
    checkPartNames('fake', parts, ['value', ...(masked ? ['mask'] : []), ...(learned ? ['step'] : []), ...(config.input ? ['input'] : [])])
    const value = partOf('fake', parts, 'value', ['f32'])
    checkPartShape('fake', 'value', value, shape)
    const mask = masked ? partOf('fake', parts, 'mask', ['u8']) : null
    if (mask) checkPartShape('fake', 'mask', mask, [Math.ceil(shape.reduce((a, b) => a * b, 1) / 8)])
    return new FakeWeight(config, {
      value: fromRaw(value),
      mask: mask && fromRaw(mask),
      step: learned ? fromRaw(partOf('fake', parts, 'step', ['f32'])) : null,
      input: config.input ? FakeInput.restore(config.input, parts) : null,
    })
  },
})
