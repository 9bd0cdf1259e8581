/**
 * A dense weight of which some values are fixed at 0 while it trains on: `mask` is a bit set (ops.def), and optimizer steps keep the value
 * exactly 0 where its bit is 0. Multiplies with the dense values. A file holds the values and the bits.
 */
import type { Json } from '../../base/json-types.js'
import { ModelFormatError, ShapeError } from '../../base/errors.js'
import type { RawTensor } from '../../base/dtype.js'
import { sizeOf } from '../../base/shape.js'
import { fromRaw, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { keepBits, keepRaw, type Keep } from './cut.js'
import { checkPartShape, countNonzero } from './dense.js'
import { checkPartNames, one, partOf, percent } from './parts.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export class MaskedWeight implements Weight {
  readonly kind = 'masked'
  readonly value: Tensor
  readonly mask: Tensor
  /** Takes over both tensors. `value` must already be 0 where the mask is (`maskWeight` sees to it). */
  constructor(value: Tensor, mask: Tensor) {
    const bytes = Math.ceil(value.size / 8)
    if (mask.dtype !== 'u8' || mask.rank !== 1 || mask.size !== bytes)
      throw new ShapeError('ERR_SHAPE', `weight: the mask of ${value} must be u8[${bytes}], got ${mask}`)
    this.value = value
    this.mask = mask
  }
  get shape(): readonly number[] {
    return this.value.shape
  }
  get description(): string {
    return `${this.value.dtype} masked ${percent(this.kept(), this.value.size)}`
  }
  /** Values that may be other than 0. */
  kept(): number {
    return scope(() => one('mask_count', [this.mask, this.value.size]).item())
  }
  bytes(): number {
    return this.value.bytes + this.mask.bytes
  }
  nonzeros(): number {
    return countNonzero(this.value)
  }
  dense(): Tensor {
    return this.value
  }
  apply(x: Tensor, use: WeightUse): Tensor {
    return applyDense(this.value, x, use)
  }
  parts(): Record<string, RawTensor> {
    return { value: toRaw(this.value), mask: toRaw(this.mask) }
  }
  config(): Json {
    return {}
  }
  trainable(): readonly Leaf[] {
    return [{ value: this.value, mask: this.mask }]
  }
  tensors(): Record<string, Tensor> {
    return { value: this.value, mask: this.mask }
  }
  cut(keep: Keep): MaskedWeight {
    const bits = keepBits(this.mask.read() as Uint8Array, this.shape, keep)
    return new MaskedWeight(fromRaw(keepRaw(toRaw(this.value), keep)), tensor(bits))
  }
  dispose(): void {
    this.value.dispose()
    this.mask.dispose()
  }
}

/** A copy of the weight's values with 0 where `mask` (u8 bit set, copied) has a 0. */
export function maskWeight(w: Weight, mask: Tensor): MaskedWeight {
  return scope(() => new MaskedWeight(one('mask_apply', [w.dense(), mask]), one('copy', [mask])))
}

export const maskedKind = defineWeightKind({
  kind: 'masked',
  restore: (parts, _config, shape) => {
    checkPartNames('masked', parts, ['value', 'mask'])
    const value = partOf('masked', parts, 'value', ['f32', 'f64', 'f16', 'bf16'])
    const mask = partOf('masked', parts, 'mask', ['u8'])
    checkPartShape('masked', 'value', value, shape)
    checkPartShape('masked', 'mask', mask, [Math.ceil(sizeOf(shape) / 8)])
    return scope(() => {
      const w = new MaskedWeight(fromRaw(value), fromRaw(mask))
      const spare = (8 - (w.value.size % 8)) % 8
      if (spare && mask.data[mask.data.length - 1]! >> (8 - spare) !== 0)
        throw new ModelFormatError('ERR_MODEL_FORMAT', 'weight: bits behind the last element of a mask must be 0')
      if (countNonzero(one('mask_apply', [w.value, w.mask])) !== w.nonzeros())
        throw new ModelFormatError('ERR_MODEL_FORMAT', 'weight: a masked weight must be 0 wherever its mask is')
      return w
    })
  },
  adopt: ({ value, mask }) => new MaskedWeight(value!, mask!),
})
