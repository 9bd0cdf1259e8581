/**
 * A weight with a little twin (dual-module inference: Liu et al., ICML 2020, "Boosting deep neural network efficiency with dual-module inference"): `big` are the
 * values it stands for, `little` is a small quantized matrix that sees a random ternary projection of the input. The twin predicts every output; outputs
 * that the prediction calls insensitive stay as predicted, the others are computed exactly from `big`, and no other row of `big` is read.
 *
 *   y_LL = L (P x) + b      insensitive: |y_LL| > threshold (in front of sigmoid, tanh), y_LL < threshold (in front of ReLU), or the K best by rank
 *
 * Linear layers ask it through `apply`, recurrent layers through `recurrent` (asked of the recurrent weight, which knows the thresholds of all gates; with a
 * plain input weight the input part is exact). Two-dimensional convolutions in one group are a linear layer of their patches: every place has sensitive rows of
 * its own. With nothing insensitive it computes what `big` computes, bit for bit. Lookups, other convolutions and training use the values of `big`.
 *
 * In a file: the parts of both weights under "big." and "little."; the projection is its seed.
 */
import { z } from 'zod'
import { OptionError, ShapeError } from '../../base/errors.js'
import type { RawTensor } from '../../base/dtype.js'
import type { Json } from '../../base/json-types.js'
import type { Shape } from '../../base/shape.js'
import { add, dualGru, dualLinear, dualLstm, ternaryPack, wgemmPack } from '../../ops/index.js'
import { gruDirection, lstmDirection } from '../../ops/recurrent.js'
import { full, keep, scope, tensor, type Tensor } from '../../tensor/index.js'
import type { ForwardContext } from '../module.js'
import { matrixShape, memberParts, parseWeightConfig, percent, withTemporary } from './parts.js'
import { patchesOf } from './patches.js'
import { QuantizedWeight } from './quantized.js'
import { defineWeightKind, weightKind, type Leaf, type RecurrentUse, type Weight, type WeightUse } from './weight.js'

const ruleSchema = z.discriminatedUnion('rule', [
  /** round(ratio N) outputs are insensitive, ties by lowest index. */
  z.strictObject({ rule: z.literal('top-k'), ratio: z.number().min(0).max(1) }),
  /** By gate of a recurrent layer, one else. */
  z.strictObject({ rule: z.literal('threshold'), thresholds: z.array(z.number()).min(1).max(4) }),
])
/** Which outputs the twin answers. */
export type DualRule = z.infer<typeof ruleSchema>

const configSchema = z.strictObject({
  /** Numbers that the twin sees; `copies` of them stand before its columns. */
  k: z.int().positive(),
  copies: z.int().min(1).max(2),
  /** Null: the twin sees the input itself. */
  projection: z.strictObject({ seed: z.int(), stream: z.int() }).nullable(),
  choice: ruleSchema,
  /** What follows the layer: 'below' in front of ReLU, else 'magnitude'. */
  side: z.enum(['magnitude', 'below']),
  big: z.strictObject({ kind: z.enum(['dense', 'masked', 'quantized']), config: z.unknown() }),
  little: z.strictObject({ kind: z.enum(['dense', 'quantized']), config: z.unknown() }),
})
type Config = z.infer<typeof configSchema>

export interface DualParts extends Pick<Config, 'k' | 'copies' | 'projection' | 'choice' | 'side'> {
  /** Dense, masked, or quantized symmetrically with scales per tensor or channel. */
  readonly big: Weight
  /** [N, copies k]: dense f32 or quantized to 2, 3, 4 or 8 bits. */
  readonly little: Weight
}

type Watcher = (weight: DualWeight, count: Tensor, outputs: number) => void
let watcher: Watcher | undefined

/**
 * Runs `run` (calls of `forward`, not of sessions); `see` gets the twin's share of every product: how many of `outputs` it answered, i32 [rows], or
 * [T, B] for recurrent layers. Not for asynchronous functions.
 */
export function watchDual<T>(see: Watcher, run: () => T): T {
  const before = watcher
  watcher = see
  try {
    return run()
  } finally {
    watcher = before
  }
}

/** What the kernels read. */
interface Ready {
  readonly thresholds: Tensor
  readonly packed: Tensor | null
  readonly twin: Tensor
  readonly values: Tensor
  readonly scale: Tensor | null
}

export class DualWeight implements Weight {
  readonly kind = 'dual'
  readonly shape: Shape
  readonly big: Weight
  readonly little: Weight
  readonly k: number
  readonly copies: number
  readonly projection: Config['projection']
  readonly choice: DualRule
  readonly side: Config['side']
  #kept: Ready | undefined

  /** Takes over both weights. */
  constructor(parts: DualParts) {
    const { big, little, k, copies, projection, choice, side } = parts
    const [rows, cols] = matrixShape('dual', big.shape)
    const wrong = (rule: string): never => {
      throw new ShapeError('ERR_SHAPE', `weight: dual [${big.shape}] k ${k}: ${rule} (little: ${little.description} [${little.shape}])`)
    }
    if (little.shape.length !== 2 || little.shape[0] !== rows || little.shape[1] !== copies * k)
      wrong(`little must be [${rows}, ${copies * k}]`)
    if (!projection && k !== cols) wrong(`without a projection k must be ${cols}`)
    if (little instanceof QuantizedWeight ? ![2, 3, 4, 8].includes(little.bits) : little.kind !== 'dense' || copies !== 1)
      throw new OptionError('ERR_OPTION', 'weight: the twin of a dual weight is dense or has 2, 3, 4 or 8 bits')
    if (big instanceof QuantizedWeight ? big.layout === 'group' || big.zero : big.kind !== 'dense' && big.kind !== 'masked')
      throw new OptionError(
        'ERR_OPTION',
        `weight: the big part of a dual weight is dense, masked, or quantized symmetrically per tensor or channel, got ${big.description}`,
      )
    this.shape = [...big.shape]
    this.big = big
    this.little = little
    this.k = k
    this.copies = copies
    this.projection = projection
    this.choice = choice
    this.side = side
  }

  /** Bits of the twin's values. */
  get littleBits(): number {
    return this.little instanceof QuantizedWeight ? this.little.bits * this.copies : 32
  }
  get description(): string {
    const which = this.choice.rule === 'top-k' ? `top-k ${percent(this.choice.ratio, 1)}` : 'thresholds'
    return `dual ${this.big.description}, twin ${this.littleBits === 32 ? 'f32' : `int${this.littleBits}`} k ${this.k}, ${which}`
  }
  get approximation(): string | undefined {
    return this.#exactly() === 0 ? undefined : 'a twin answers some outputs'
  }
  bytes(): number {
    return this.big.bytes() + this.little.bytes()
  }
  nonzeros(): number {
    return this.big.nonzeros()
  }
  dense(): Tensor {
    return this.big.dense()
  }

  /** The same twin with another rule. Shares nothing with this weight. */
  withChoice(choice: DualRule): DualWeight {
    const { k, copies, projection, side } = this
    const copyOf = (w: Weight): Weight => weightKind(w.kind).restore(w.parts(), w.config(), w.shape)
    return new DualWeight({ k, copies, projection, side, choice, big: copyOf(this.big), little: copyOf(this.little) })
  }

  /** Insensitive outputs by rank, or -1: by thresholds. */
  #exactly(): number {
    return this.choice.rule === 'top-k' ? Math.round(this.choice.ratio * this.shape[0]!) : -1
  }

  /** What the kernels read, made on first use. */
  #ready(gates: number): Ready {
    if (this.#kept) return this.#kept
    const { big, little, choice, projection, k } = this
    const [rows, cols] = matrixShape('dual', this.shape)
    const given = choice.rule === 'threshold' ? choice.thresholds : [0]
    if (given.length !== 1 && given.length !== gates)
      throw new OptionError('ERR_OPTION', `weight: a dual weight of ${gates} gates needs as many thresholds, got ${given.length}`)
    const whole = big.shape.length === 2
    const make = (): Ready => ({
      thresholds: tensor(Float32Array.from({ length: gates }, (_, i) => given[i % given.length]!)),
      packed: projection && ternaryPack(k, cols, projection.seed, projection.stream),
      twin: little instanceof QuantizedWeight ? wgemmPack(little.q, little.scale, little.zero, little.bits) : little.dense().alias(),
      values: big instanceof QuantizedWeight ? big.q.alias() : whole ? big.dense().alias() : big.dense().reshapeView([rows, cols]),
      scale: big instanceof QuantizedWeight ? perRow(big.scale, rows) : null,
    })
    // Codes of a file may be none that the kernel takes: what was made until then is freed.
    return (this.#kept = scope(() => keep(make())))
  }

  apply(x: Tensor, use: WeightUse, context?: ForwardContext): Tensor {
    const exactly = this.#exactly()
    if (exactly === 0 || context?.training) return this.big.apply(x, use, context)
    if (use.op === 'linear') return this.#linear(x, use.bias, exactly)
    if (use.op !== 'conv2d' || (use.groups ?? 1) !== 1) return this.big.apply(x, use, context)
    return scope(() => {
      const { rows, image } = patchesOf(x, this.shape.slice(2), use)
      return image(this.#linear(rows, use.bias, exactly))
    })
  }

  #linear(x: Tensor, bias: Tensor | null, exactly: number): Tensor {
    const { thresholds, packed, twin, values, scale } = this.#ready(1)
    const below = this.side === 'below'
    const [y, count] = dualLinear(x, values, scale, bias, packed, twin, thresholds, this.k, this.copies, exactly, below)
    watcher?.(this, count, this.shape[0]!)
    withTemporary([count], () => undefined)
    return y
  }

  /** States of one direction: outputs [T, B, H], then the last h (and c). */
  recurrent(use: RecurrentUse): Tensor {
    const { cell, input, x, bih, bhh, h0, c0, lengths, reverse } = use
    const twinIn = input instanceof DualWeight ? input : undefined
    const exactly = this.#exactly()
    const gates = cell === 'lstm' ? 4 : 3
    const own = this.#ready(gates)
    const other = twinIn && twinIn.#ready(gates)
    const both = (): Tensor | null => (bih && bhh ? add(bih, bhh) : (bih ?? bhh))
    if (exactly === 0 && !own.scale && !other?.scale) {
      const wih = input.dense()
      if (cell === 'gru') return gruDirection(x, wih, own.values, bih, bhh, h0, lengths, reverse)[0]
      return lstmDirection(x, wih, own.values, both(), h0, c0, lengths, reverse)[0]
    }
    if (twinIn && (twinIn.k !== this.k || twinIn.copies !== this.copies))
      throw new OptionError('ERR_OPTION', 'weight: the twins of the input and of the state must have the same k and width')
    const wih = other?.values ?? input.dense()
    const [px, scaleIh, little] = [other?.packed ?? null, other?.scale ?? null, other?.twin ?? null]
    const { k, copies } = this
    const [states, count] =
      cell === 'lstm'
        ? dualLstm(
            ...([x, wih, own.values, scaleIh, own.scale, both(), px, own.packed, little, own.twin, h0, c0, lengths] as const),
            ...([own.thresholds, k, copies, exactly, reverse] as const),
          )
        : dualGru(
            ...([x, wih, own.values, scaleIh, own.scale, bih, bhh, px, own.packed, little, own.twin, h0, lengths] as const),
            ...([own.thresholds, k, copies, exactly, reverse] as const),
          )
    watcher?.(this, count, this.shape[0]!)
    return states
  }

  parts(): Record<string, RawTensor> {
    const named = (prefix: string, w: Weight): [string, RawTensor][] => Object.entries(w.parts()).map(([n, raw]) => [`${prefix}.${n}`, raw])
    return Object.fromEntries([...named('big', this.big), ...named('little', this.little)])
  }

  config(): Json {
    const { k, copies, projection, choice, side, big, little } = this
    const of = (w: Weight): Json => ({ kind: w.kind, config: w.config() })
    return { k, copies, projection, choice: { ...choice }, side, big: of(big), little: of(little) }
  }

  trainable(): readonly Leaf[] {
    return []
  }

  dispose(): void {
    if (this.#kept) for (const t of Object.values(this.#kept) as (Tensor | null)[]) t?.dispose()
    this.#kept = undefined
    this.big.dispose()
    this.little.dispose()
  }
}

/** One scale for each row. */
function perRow(scale: Tensor, rows: number): Tensor {
  return scale.size === rows ? scale.reshapeView([rows]) : full([rows], (scale.read() as Float32Array)[0]!)
}

export const dualKind = defineWeightKind({
  kind: 'dual',
  restore: (parts, given, shape) => {
    const { k, copies, projection, choice, side, big, little } = parseWeightConfig('dual', configSchema, given)
    const own = memberParts('dual', ['big', 'little'], parts)
    const of = (name: 'big' | 'little', { kind, config }: Config['big'], form: Shape): Weight =>
      weightKind(kind).restore(own[name], config as Json, form)
    const made: Weight[] = []
    try {
      made.push(of('big', big, shape))
      made.push(of('little', little, [shape[0]!, copies * k]))
      return new DualWeight({ k, copies, projection, choice, side, big: made[0]!, little: made[1]! })
    } catch (error) {
      for (const w of made) w.dispose()
      throw error
    }
  },
})
