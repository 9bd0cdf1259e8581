/**
 * A weight of which a score beside each value says whether it takes part, both of them trained (movement pruning; Sanh, Wolf, Rush, NeurIPS 2020): products see the values under the
 * mask, and the gradient of a score is that of its masked value times the value, straight through the mask. Who trains sets the mask by the scores; what is masked keeps its
 * value and may come back. Lives during a training only.
 */
import { definePrimitive } from '../../autograd/index.js'
import type { Json } from '../../base/json-types.js'
import type { RawTensor } from '../../base/dtype.js'
import { sizeOf } from '../../base/shape.js'
import { maskApply, mul } from '../../ops/index.js'
import { fromRaw, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { checkPartShape, countNonzero } from './dense.js'
import { checkPartNames, one, partOf } from './parts.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

const chosen = definePrimitive<[value: Tensor, scores: Tensor, mask: Tensor], 'value' | 'scores'>({
  name: 'chosen by score',
  inputs: { value: 0, scores: 1 },
  forward: (value, _scores, mask) => [one('mask_apply', [value, mask])],
  grad: ({ args: [value, , mask] }, dy) => ({ value: () => maskApply(dy, mask), scores: () => mul(dy, value) }),
})

export class ScoredWeight implements Weight {
  readonly kind = 'scored'
  readonly value: Tensor
  readonly scores: Tensor
  /** u8 bit set. */
  readonly mask: Tensor

  /** Takes over the tensors; `scores` has the shape and type of `value`. */
  constructor(value: Tensor, scores: Tensor, mask: Tensor) {
    this.value = value
    this.scores = scores
    this.mask = mask
  }
  get shape(): readonly number[] {
    return this.value.shape
  }
  get description(): string {
    return `${this.value.dtype} with scores`
  }
  bytes(): number {
    return this.value.bytes + this.scores.bytes + this.mask.bytes
  }
  nonzeros(): number {
    return countNonzero(this.value)
  }
  dense(): Tensor {
    return chosen(this.value, this.scores, this.mask)[0]!
  }
  apply(x: Tensor, use: WeightUse): Tensor {
    return applyDense(this.dense(), x, use)
  }
  parts(): Record<string, RawTensor> {
    return { value: toRaw(this.value), scores: toRaw(this.scores), mask: toRaw(this.mask) }
  }
  config(): Json {
    return {}
  }
  trainable(): readonly Leaf[] {
    return [
      { value: this.value, mask: null },
      { value: this.scores, mask: null, part: 'scores' },
    ]
  }
  tensors(): Record<string, Tensor> {
    return { value: this.value, scores: this.scores, mask: this.mask }
  }
  dispose(): void {
    for (const t of [this.value, this.scores, this.mask]) t.dispose()
  }
}

export const scoredKind = defineWeightKind({
  kind: 'scored',
  restore: (parts, _config, shape) => {
    checkPartNames('scored', parts, ['value', 'scores', 'mask'])
    const floats = ['f32', 'f64', 'f16', 'bf16'] as const
    const value = partOf('scored', parts, 'value', floats)
    const scores = partOf('scored', parts, 'scores', [value.dtype])
    const mask = partOf('scored', parts, 'mask', ['u8'])
    checkPartShape('scored', 'value', value, shape)
    checkPartShape('scored', 'scores', scores, shape)
    checkPartShape('scored', 'mask', mask, [Math.ceil(sizeOf(shape) / 8)])
    return new ScoredWeight(fromRaw(value), fromRaw(scores), fromRaw(mask))
  },
  adopt: ({ value, scores, mask }) => new ScoredWeight(value!, scores!, mask!),
})
