/**
 * A product of two smaller weights: W [rows, ...] ~ left [rows, r] right [r, ...] (truncated singular value decomposition, Eckart and Young 1936). A layer multiplies
 * twice with little instead of once with much: a linear layer first with right, then with left; a convolution with the r kernels of right, then with a kernel of size 1
 * (Zhang, Zou, He, Sun 2015, "Accelerating very deep convolutional networks for classification and detection", section 2.2); a table looks up rows of left and multiplies them with right
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
import { checkPartNames, matrixShape, memberParts, parseWeightConfig, partOf, withTemporary } from './parts.js'
import { defineWeightKind, weightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export interface LowRankFactors {
  /** [rows, r]; of a convolution [O, r, 1, ...], as many ones as the kernel has axes. */
  readonly left: Weight
  /** [r, ...] with the axes of W behind the first. */
  readonly right: Weight
}

const factorSchema = z.strictObject({ kind: z.string(), config: z.unknown() })
const configSchema = z.strictObject({
  rank: z.int().min(1),
  left: factorSchema,
  right: factorSchema,
})

/** Shapes of the factors of a weight of this shape. */
function factorShapes(shape: Shape, rank: number): { readonly left: number[]; readonly right: number[] } {
  const [rows] = matrixShape('low-rank', shape)
  return { left: [rows, rank, ...shape.slice(2).map(() => 1)], right: [rank, ...shape.slice(1)] }
}

export class LowRankWeight implements Weight {
  readonly kind = 'low-rank'
  readonly shape: Shape
  readonly rank: number
  readonly left: Weight
  readonly right: Weight

  /** Takes over the factors. */
  constructor(shape: Shape, { left, right }: LowRankFactors) {
    const rank = left.shape[1] ?? 0
    const wanted = factorShapes(shape, rank)
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
    this.shape = [...shape]
    this.rank = rank
    this.left = left
    this.right = right
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
    return reshape(matmul(left, reshape(right, [this.rank, cols])), this.shape)
  }

  apply(x: Tensor, use: WeightUse, context?: ForwardContext): Tensor {
    const { left, right } = this
    const plain: WeightUse = { op: 'linear', bias: null }
    const then = (inner: Tensor, w: Weight, how: WeightUse): Tensor => withTemporary([inner], () => w.apply(inner, how, context))
    if (use.op === 'linear') return then(right.apply(x, plain, context), left, use)
    if (use.op === 'lookup' && this.shape.length === 2) return scope(() => matmul(left.apply(x, use, context), right.dense()))
    if (use.op === 'lookup' || use.op === 'convTranspose2d' || (use.groups ?? 1) !== 1) return this.#densely(x, use)
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
    return { rank: this.rank, left: of(this.left), right: of(this.right) }
  }
  trainable(): readonly Leaf[] {
    return (['left', 'right'] as const).flatMap((name) =>
      this[name].trainable().map((leaf) => ({ ...leaf, stored: { value: `${name}.${leaf.part ?? 'value'}`, mask: `${name}.mask` } })),
    )
  }
  dispose(): void {
    this.left.dispose()
    this.right.dispose()
  }
}

export const lowRankKind = defineWeightKind({
  kind: 'low-rank',
  restore: (parts, given, shape) => {
    const { rank, left, right } = parseWeightConfig('low-rank', configSchema, given)
    if (shape.length < 2 || rank > Math.min(...[shape[0]!, sizeOf(shape.slice(1))]))
      throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: [${shape}] has no rank ${rank}`)
    const wanted = factorShapes(shape, rank)
    const own = memberParts('low-rank', ['left', 'right'], parts)
    const made: Weight[] = []
    try {
      for (const [name, { kind, config }] of [
        ['left', left],
        ['right', right],
      ] as const) {
        if (kind === 'low-rank' || kind === 'dual')
          throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: a factor of a low-rank weight cannot be ${kind}`)
        if (kind === 'dense') {
          checkPartNames('low-rank factor', own[name], ['value'])
          partOf('low-rank factor', own[name], 'value', ['f32', 'f64', 'f16', 'bf16'])
        }
        made.push(weightKind(kind).restore(own[name], config as Json, wanted[name]))
      }
      return new LowRankWeight(shape, { left: made[0]!, right: made[1]! })
    } catch (error) {
      for (const w of made) w.dispose()
      throw error
    }
  },
})
