/**
 * The quantized input of a layer while it trains: values on the grid of 8 bits or fewer, with a range that follows the data or a step that is learned.
 *
 *   affine      range [min, max] by exponential averages, widened to hold 0, which stands exactly on a code (Jacob et al. 2018, section 3.1)
 *   symmetric   average of max |x| (Q8BERT: Zafrir et al. 2019, eq. 3); code 0 is 0
 *   learned     a step with a gradient of its own, 1 / sqrt(values per example * largest code) of it (LSQ: Esser et al. 2020)
 *
 * The first value seen initialises an average. Updates go through `ForwardContext.stateUpdates` like those of batch norms: the step that is left out leaves no trace.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { clipSte, fakeQuantize, rangeRows, reshape, widened, type FakeGradient } from '../../ops/index.js'
import { fromRaw, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import { join, type ForwardContext } from '../module.js'
import { gridOf, legalScale } from './grid.js'
import { checkPartShape } from './dense.js'
import { partOf, type Parts } from './parts.js'
import type { InputQuantization, Leaf } from './weight.js'

export const fakeInputSchema = z.strictObject({
  bits: z.int().min(2).max(8),
  mode: z.enum(['affine', 'symmetric', 'learned']),
  /** Learned steps: whether there are codes below 0. */
  signed: z.boolean().default(true),
  /** Share of the old average that stays at each step. */
  decay: z.number().min(0).lt(1).default(0.99),
  /** Steps that only watch the range before inputs are quantized. */
  delay: z
    .int()
    .nonnegative()
    .max(2 ** 24)
    .default(0),
  gradient: z.enum(['straight', 'clipped']).default('clipped'),
})
export type FakeInputConfig = z.output<typeof fakeInputSchema>

/** Smallest step that a value is divided by; a learned one that falls below still gets its gradient. */
const LEAST_STEP = 1e-8
/** Between codes of u8, as kernels have them, and of i8, as the fake quantization has them. */
const OFFSET = 128

export class FakeInput {
  readonly config: FakeInputConfig
  /** f32 [3]: smallest and largest value by average (symmetric: -m and m), number of updates. Learned: f32 [1, 1], the step. */
  readonly value: Tensor

  /** Takes over the tensor. */
  constructor(config: FakeInputConfig, value: Tensor) {
    this.config = config
    this.value = value
  }

  /** Before the first example. `step`: of a learned one. */
  static begin(config: FakeInputConfig, step = 1): FakeInput {
    return new FakeInput(config, config.mode === 'learned' ? tensor([[step]]) : tensor(new Float32Array(3)))
  }

  static restore(config: FakeInputConfig, parts: Parts): FakeInput {
    const raw = partOf('fake', parts, 'input', ['f32'])
    checkPartShape('fake', 'input', raw, config.mode === 'learned' ? [1, 1] : [3])
    return new FakeInput(config, fromRaw(raw))
  }

  /** What stands for x while training and behind it. Moves the averages in training. */
  quantize(x: Tensor, context: ForwardContext | undefined): Tensor {
    if (x.size === 0) return x
    const values = widened(x)
    if (this.config.mode === 'learned') return this.#learned(values)
    const { delay, gradient } = this.config
    const seen = context?.training ? this.#watch(values, context) : (this.value.read() as Float32Array)
    const input = seen[2]! > delay ? this.#ofRange(seen) : null
    if (!input) return values
    const [lo, hi] = limitsOf(input)
    const scale = tensor([[input.scale]])
    const zero = tensor([[input.zero - OFFSET]])
    return shaped(values, (flat) => fakeQuantize(flat, scale, zero, { qmin: lo - OFFSET, qmax: hi - OFFSET, gradient }))
  }

  #learned(x: Tensor): Tensor {
    const { zero, limits } = this.#codes()
    const [lo, hi] = limits
    const scaleGradient = 1 / Math.sqrt((x.size / x.shape[0]!) * (hi - zero))
    const scale = clipSte(this.value, LEAST_STEP, Infinity)
    const options = { qmin: lo - OFFSET, qmax: hi - OFFSET, gradient: 'learned' as FakeGradient, scaleGradient }
    return shaped(x, (flat) => fakeQuantize(flat, scale, tensor([[zero - OFFSET]]), options))
  }

  /** The averages with this batch in them; they are kept when the step is taken. */
  #watch(x: Tensor, context: ForwardContext): Float32Array {
    const { decay, mode } = this.config
    const old = this.value.read() as Float32Array
    const [lo, hi] = scope(() => rangeRows(reshape(x, [1, x.size]), 1).map((t) => t.item())) as [number, number]
    const most = Math.max(-lo, hi)
    const [min, max] = mode === 'symmetric' ? [-most, most] : [lo, hi]
    const mean = (before: number, now: number): number => (old[2] === 0 ? now : decay * before + (1 - decay) * now)
    const now = Float32Array.of(mean(old[0]!, min), mean(old[1]!, max), old[2]! + 1)
    context.stateUpdates?.set(`${join(context.path, 'weight')}#input`, tensor(now))
    return now
  }

  #ofRange([min, max]: Float32Array): InputQuantization {
    const { bits, mode } = this.config
    if (mode === 'symmetric')
      return { ...this.#codes(), scale: gridOf(min!, max!, true, { qmin: 1 - 2 ** (bits - 1), qmax: 2 ** (bits - 1) - 1 }).scale }
    const qmax = 2 ** bits - 1
    const grid = gridOf(min!, max!, false, { qmin: 0, qmax })
    return bits === 8 ? grid : { ...grid, limits: [0, qmax] }
  }

  /** u8 codes of a grid with a fixed zero point. At 8 bits all codes are used: kernels clamp there by themselves. */
  #codes(): { readonly zero: number; readonly limits: readonly [number, number] } {
    const { bits, mode, signed } = this.config
    const half = 2 ** (bits - 1)
    if (mode === 'learned' && !signed) return { zero: 0, limits: [0, 2 * half - 1] }
    const least = mode === 'symmetric' && bits < 8 ? 1 - half : -half
    return { zero: OFFSET, limits: [OFFSET + least, OFFSET + half - 1] }
  }

  /** For the kernels; null where no example was seen. */
  hardened(): InputQuantization | null {
    const found = this.value.read() as Float32Array
    if (this.config.mode !== 'learned') return found[2] === 0 ? null : plain(this.#ofRange(found))
    return plain({ ...this.#codes(), scale: legalScale(Math.max(found[0]!, LEAST_STEP)) })
  }

  leaves(): readonly Leaf[] {
    return this.config.mode === 'learned' ? [{ value: this.value, mask: null, part: 'input' }] : []
  }
  state(): Readonly<Record<string, Tensor>> {
    return this.config.mode === 'learned' ? {} : { input: this.value }
  }
  raw(): RawTensor {
    return toRaw(this.value)
  }
  dispose(): void {
    this.value.dispose()
  }
}

const limitsOf = ({ limits = [0, 255] }: InputQuantization): readonly [number, number] => limits

/** Limits that are those of u8 are left out. */
function plain({ scale, zero, limits }: InputQuantization): InputQuantization {
  return limits && (limits[0] > 0 || limits[1] < 255) ? { scale, zero, limits } : { scale, zero }
}

function shaped(x: Tensor, f: (flat: Tensor) => Tensor): Tensor {
  return reshape(f(reshape(x, [1, x.size])), x.shape)
}
