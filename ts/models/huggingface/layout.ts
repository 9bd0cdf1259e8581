/** From a tensor of the file to a weight, and back. GPT-2 keeps products as Conv1D [in, out], and q, k, v as one of them [in, 3 out]. */
import type { RawTensor } from '../../base/dtype.js'
import { cast, concat2, copy, slice, transpose } from '../../ops/index.js'
import { fromRaw, scope, toRaw, type Tensor } from '../../tensor/index.js'
import type { Layout } from './family.js'

const third = { query: 0, key: 1, value: 2 } as const

/** Shape that a file has for a weight of `shape` here. */
export function shapeInFile(layout: Layout, shape: readonly number[]): readonly number[] {
  if (layout === 'same') return shape
  const thirds = layout === 'transposed' ? 1 : 3
  return shape.length === 1 ? [shape[0]! * thirds] : [shape[1]!, shape[0]! * thirds]
}

/** The weight as f32. */
export function fromFile(layout: Layout, raw: RawTensor): Tensor {
  return scope(() => {
    let t = fromRaw(raw)
    if (layout !== 'same' && layout !== 'transposed') {
      const wide = t.shape[t.rank - 1]! / 3
      t = t.rank === 1 ? slice(t, [third[layout] * wide], [wide]) : slice(t, [0, third[layout] * wide], [t.shape[0]!, wide])
    }
    if (layout !== 'same' && t.rank === 2) t = transpose(t)
    return t.dtype === 'f32' ? copy(t) : cast(t, 'f32')
  })
}

/** What a file holds of weights here: one, or the three parts of q, k, v in this order. */
export function toFile(parts: readonly { readonly layout: Layout; readonly value: Tensor }[], dtype: 'f32' | 'f16' | 'bf16'): RawTensor {
  return scope(() => {
    const columns = parts.map(({ layout, value }) => (layout !== 'same' && value.rank === 2 ? transpose(value) : value))
    const t = columns.reduce((a, b) => concat2(a, b, -1))
    return toRaw(t.dtype === dtype ? copy(t) : cast(t, dtype))
  })
}

/** Place of a part of q, k, v in the file's tensor. */
export function orderOf(layout: Layout): number {
  return layout === 'same' || layout === 'transposed' ? 0 : third[layout]
}
