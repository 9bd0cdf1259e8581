/**
 * A product of two smaller weights: W [rows, ...] ~ left [rows, r] right [r, ...] (truncated singular value decomposition, Eckart and Young 1936). A layer multiplies
 * twice with little instead of once with much: a linear layer first with right, then with left; a convolution with the r kernels of right, then with a kernel of size 1
 * (Zhang, Zou, He, Sun 2015, "Accelerating very deep convolutional networks for classification and detection", section 2.2); a table looks up rows of left and multiplies them
 * (Lan et al. 2020, "ALBERT", section 3.1). Either factor is a weight of any kind: dense and trainable, or quantized.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, ShapeError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import { sizeOf, type Shape } from '../../base/shape.js'
import { matmul, reshape } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import type { ForwardContext } from '../module.js'
import { applyDense } from './apply.js'
import { countNonzero } from './dense.js'
import { matrixShape, memberParts, parseWeightConfig, withTemporary } from './parts.js'
import { defineWeightKind, weightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export interface LowRankFactors {
  /** [rows, r]; of a convolution [O, r, 1, ...], as many ones as the kernel has axes. */
  readonly left: Weight
  /** [r, ...] with the axes of W behind the first; of a table [cols, r], so that both factors are matrices of layers. */
  readonly right: Weight
  /** Whether W is the table of lookups. */
  readonly table?: boolean
}

const factorSchema = z.strictObject({ kind: z.string(), config: z.unknown() })
const configSchema = z.strictObject({
  rank: z.int().min(1),
  table: z.literal(true).optional(),
  left: factorSchema,
  right: factorSchema,
})

/** Shapes of the factors of a weight of this shape. */
function factorShapes(shape: Shape, rank: number, table: boolean): { readonly left: number[]; readonly right: number[] } {
  const [rows, cols] = matrixShape('low-rank', shape)
  if (table) return { left: [rows, rank], right: [cols, rank] }
  return { left: [rows, rank, ...shape.slice(2).map(() => 1)], right: [rank, ...shape.slice(1)] }
}

export class LowRankWeight implements Weight {
  readonly kind = 'low-rank'
  readonly shape: Shape
  readonly rank: number
  readonly left: Weight
  readonly right: Weight
  readonly table: boolean

  /** Takes over the factors. */
  constructor(shape: Shape, { left, right, table = false }: LowRankFactors) {
    const rank = left.shape[1] ?? 0
    const wanted = factorShapes(shape, rank, table)
    for (const [name, w, want] of [
      ['left', left, wanted.left],
      ['right', right, wanted.right],
    ] as const)
      // prettier-ignore
      if (rank < 1 || w.shape.length !== want.length || w.shape.some((d, i) => d !== want[i]))
        throw new ShapeError(
          'ERR_SHAPE',
          `weight: the ${name} factor of a low-rank weight [${shape}] of rank ${rank} must be [${want}], got [${w.shape}]`,
        )
    if (table && shape.length !== 2) throw new ShapeError('ERR_SHAPE', `weight: a table of low rank has two dimensions, got [${shape}]`)
    this.shape = [...shape]
    this.rank = rank
    this.left = left
    this.right = right
    this.table = table
  }
  get description(): string {
    const { left, right } = this
    return `rank ${this.rank} ${left.description}${left.description === right.description ? '' : ` x ${right.description}`}`
  }
  get approximation(): string | undefined {
    return this.left.approximation ?? this.right.approximation
  }
  bytes(): number {
    return this.left.bytes() + this.right.bytes()
  }
  nonzeros(): number {
    return scope(() => countNonzero(this.dense()))
  }
  dense(): Tensor {
    const [rows, cols] = matrixShape('low-rank', this.shape)
    const left = reshape(this.left.dense(), [rows, this.rank])
    const right = this.right.dense()
    return reshape(this.table ? matmul(left, right, false, true) : matmul(left, reshape(right, [this.rank, cols])), this.shape)
  }

  apply(x: Tensor, use: WeightUse, context?: ForwardContext): Tensor {
    const { left, right, table } = this
    const plain: WeightUse = { op: 'linear', bias: null }
    const then = (inner: Tensor, w: Weight, how: WeightUse): Tensor => withTemporary([inner], () => w.apply(inner, how, context))
    if (use.op === 'lookup') return table ? then(left.apply(x, use, context), right, plain) : this.#densely(x, use)
    // As the matrix of a head, a table multiplies with right as it lies.
    if (use.op === 'linear') return then(table ? matmul(x, right.dense()) : right.apply(x, plain, context), left, use)
    if (table || use.op === 'convTranspose2d' || (use.groups ?? 1) !== 1) return this.#densely(x, use)
    const inner = right.apply(x, { ...use, bias: null }, context)
    return then(
      inner,
      left,
      use.op === 'conv2d' ? { op: 'conv2d', stride: [1, 1], padding: 0, bias: use.bias } : { op: 'conv1d', bias: use.bias },
    )
  }

  #densely(x: Tensor, use: WeightUse): Tensor {
    const values = this.dense()
    return withTemporary([values], () => applyDense(values, x, use))
  }

  parts(): Record<string, RawTensor> {
    return Object.fromEntries(
      (['left', 'right'] as const).flatMap((name) => Object.entries(this[name].parts()).map(([p, raw]) => [`${name}.${p}`, raw])),
    )
  }
  config(): Json {
    const of = (w: Weight): Json => ({ kind: w.kind, config: w.config() })
    return { rank: this.rank, ...(this.table ? { table: true } : {}), left: of(this.left), right: of(this.right) }
  }
  trainable(): readonly Leaf[] {
    return [...this.left.trainable(), ...this.right.trainable()]
  }
  dispose(): void {
    this.left.dispose()
    this.right.dispose()
  }
}

export const lowRankKind = defineWeightKind({
  kind: 'low-rank',
  restore: (parts, given, shape) => {
    const { rank, table = false, left, right } = parseWeightConfig('low-rank', configSchema, given)
    if (shape.length < 2 || rank > Math.min(...[shape[0]!, sizeOf(shape.slice(1))]))
      throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: [${shape}] has no rank ${rank}`)
    if (table && shape.length !== 2)
      throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: a table of low rank has two dimensions, got [${shape}]`)
    const wanted = factorShapes(shape, rank, table)
    const own = memberParts('low-rank', ['left', 'right'], parts)
    const made: Weight[] = []
    try {
      for (const [name, { kind, config }] of [
        ['left', left],
        ['right', right],
      ] as const) {
        if (kind === 'low-rank' || kind === 'dual')
          throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: a factor of a low-rank weight cannot be ${kind}`)
        made.push(weightKind(kind).restore(own[name], config as Json, wanted[name]))
      }
      return new LowRankWeight(shape, { left: made[0]!, right: made[1]!, table })
    } catch (error) {
      for (const w of made) w.dispose()
      throw error
    }
  },
})
