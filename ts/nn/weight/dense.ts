/** Plain floating values. */
import { sizeOf } from '../../base/shape.js'
import { ModelFormatError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import type { RawTensor } from '../../base/dtype.js'
import { callOp, fromRaw, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { keepRaw, type Keep } from './cut.js'
import { defineWeightKind, part, type Leaf, type Weight, type WeightUse } from './weight.js'

export class DenseWeight implements Weight {
  readonly kind = 'dense'
  readonly value: Tensor
  /** Takes over the tensor. */
  constructor(value: Tensor) {
    this.value = value
  }
  get shape(): readonly number[] {
    return this.value.shape
  }
  get description(): string {
    return this.value.dtype
  }
  bytes(): number {
    return this.value.bytes
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
    return { value: toRaw(this.value) }
  }
  config(): Json {
    return {}
  }
  trainable(): readonly Leaf[] {
    return [{ value: this.value, mask: null }]
  }
  tensors(): Record<string, Tensor> {
    return { value: this.value }
  }
  cut(keep: Keep): DenseWeight {
    return new DenseWeight(fromRaw(keepRaw(toRaw(this.value), keep)))
  }
  dispose(): void {
    this.value.dispose()
  }
}

/** Elements that are not 0. */
export function countNonzero(t: Tensor): number {
  if (sizeOf(t.shape) === 0) return 0
  const count = callOp('count_nonzero', [t])[0]!
  const n = count.item()
  count.dispose()
  return n
}

/** ERR_MODEL_FORMAT unless the part has the shape that the architecture asks for. */
export function checkPartShape(kind: string, name: string, raw: RawTensor, shape: readonly number[]): void {
  if (raw.shape.length !== shape.length || raw.shape.some((d, i) => d !== shape[i]))
    throw new ModelFormatError(
      'ERR_MODEL_FORMAT',
      `weight: part "${name}" of a ${kind} weight must have shape [${shape}], got ${raw.dtype}[${raw.shape}]`,
    )
}

export const denseKind = defineWeightKind({
  kind: 'dense',
  restore: (parts, _config, shape) => {
    const raw = part(parts, 'value', 'dense')
    checkPartShape('dense', 'value', raw, shape)
    return new DenseWeight(fromRaw(raw))
  },
  adopt: ({ value }) => new DenseWeight(value!),
})
