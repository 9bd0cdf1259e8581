/**
 * Terms on hidden states. A layer's output is read as features [B, L, C]: C channels at L places (tokens, pixels; 1 for a vector). `mask` [B, L] has 1 at
 * places that count (tokens) and 0 at others (padding); without it all do. The teacher's features are constant.
 */
import { ShapeError } from '../../../base/errors.js'
import {
  add,
  clip,
  cosineSimilarity,
  div,
  matmul,
  mean,
  mse,
  mul,
  permute,
  reshape,
  scaleShift,
  slice,
  sqrt,
  sub,
  sum,
} from '../../../ops/index.js'
import { scope, type Tensor } from '../../../tensor/index.js'

/** [B, C] -> [B, 1, C], [B, L, C] as it is, [B, C, H, W] -> [B, H W, C]; others are ERR_SHAPE. */
export function features(path: string, y: Tensor): Tensor {
  const [b, c] = y.shape as [number, number]
  if (y.rank === 2) return reshape(y, [b, 1, c])
  if (y.rank === 3) return y
  if (y.rank === 4) return reshape(permute(y, [0, 2, 3, 1]), [b, y.size / Math.max(b * c, 1), c])
  throw new ShapeError('ERR_SHAPE', `distill: ${path}: hidden states must be [B, C], [B, T, C] or [B, C, H, W], got ${y}`)
}

/** Mean over [B, L, ...] of what is given for each place; `each`: numbers per place. */
function overPlaces(values: Tensor, mask: Tensor | null, each: number): Tensor {
  if (!mask) return mean(values)
  const [b, l] = mask.shape as [number, number]
  const shown = mul(values, reshape(mask, [b, l, ...values.shape.slice(2).map(() => 1)]))
  return div(sum(shown), scaleShift(clip(sum(mask), 1, Infinity), each))
}

/** mean (S - T)^2. */
export function hiddenTerm(s: Tensor, t: Tensor, mask: Tensor | null): Tensor {
  return scope(() => {
    if (!mask) return mse(s, t)
    const d = sub(s, t)
    return overPlaces(mul(d, d), mask, s.shape[2]!)
  })
}

/** mean 1 - cos(S, T). */
export function cosineTerm(s: Tensor, t: Tensor, mask: Tensor | null): Tensor {
  return scope(() => overPlaces(scaleShift(cosineSimilarity(s, t), -1, 1), mask, 1))
}

const unit = (h: Tensor): Tensor => div(h, sqrt(clip(sum(mul(h, h), [-1], true), 1e-24, Infinity)))

/** mean (S / |S| - T / |T|)^2 of the first place. */
export function patientTerm(s: Tensor, t: Tensor): Tensor {
  return scope(() => {
    const first = (h: Tensor): Tensor => slice(h, [0, 0, 0], [h.shape[0]!, 1, h.shape[2]!])
    return mse(unit(first(s)), unit(first(t)))
  })
}

/** Number of places of each example, [B, 1, 1] or one number for all. */
function masked(f: Tensor, mask: Tensor | null): Tensor {
  return mask ? mul(f, reshape(mask, [...mask.shape, 1])) : f
}

/** F1^T F2 / length, [B, C1, C2]. */
export function flow(f1: Tensor, f2: Tensor, mask: Tensor | null): Tensor {
  const product = matmul(masked(f1, mask), masked(f2, mask), true, false)
  if (!mask) return scaleShift(product, 1 / Math.max(f1.shape[1]!, 1))
  return div(product, reshape(clip(sum(mask, [1]), 1, Infinity), [mask.shape[0]!, 1, 1]))
}

/** mean |F1^T F2 / length - the teacher's|^2 over the channels' pairs. */
export function flowTerm(s: readonly [Tensor, Tensor], t: readonly [Tensor, Tensor], mask: Tensor | null): Tensor {
  return scope(() => mse(flow(s[0], s[1], mask), flow(t[0], t[1], mask)))
}

/** mean |F F^T / width - the teacher's|^2 over the places' pairs; widths may differ. */
export function placesTerm(s: Tensor, t: Tensor, mask: Tensor | null): Tensor {
  return scope(() => {
    const alike = (f: Tensor): Tensor => {
      const m = masked(f, mask)
      return scaleShift(matmul(m, m, false, true), 1 / Math.max(f.shape[2]!, 1))
    }
    return mse(alike(s), alike(t))
  })
}

/** S W^T + b: the student's features in the teacher's width. */
export function projected(s: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const [b, l, c] = s.shape as [number, number, number]
  const y = add(matmul(reshape(s, [b * l, c]), weight, false, true), bias)
  return reshape(y, [b, l, weight.shape[0]!])
}
