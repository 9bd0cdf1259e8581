/** Integers for samples: what a Sampler's random floats cannot stand for (codes, masks, sparse structure). */
import { dtypeInfo, type DType } from '../base/dtype.js'
import { sizeOf, type Shape } from '../base/shape.js'
import { tensor, type Tensor } from '../tensor/index.js'

/** A tensor of integers that runs through [lo, hi] in scattered order, both ends among them when it is large enough. */
export function pattern(dtype: Exclude<DType, 'f16' | 'bf16' | 'i64' | 'bool'>, shape: Shape, lo: number, hi: number): Tensor {
  const span = hi - lo + 1
  const values = Array.from({ length: sizeOf(shape) }, (_, i) => lo + ((i * 7919 + span - 1) % span))
  return tensor(dtypeInfo[dtype].array.from(values), shape)
}
