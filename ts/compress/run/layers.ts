/** Weights before and after: what they cost, and how far apart they are. */
import { OptionError } from '../../base/errors.js'
import { sameShape, sizeOf } from '../../base/shape.js'
import type { Model, PlacedWeight, Weight } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import type { LayerOutcome, WeightFacts } from '../outcome.js'
import { checkFinite } from '../train/working-copy.js'
import { denseValues } from '../values.js'

export function factsOf(w: Weight): WeightFacts {
  const size = sizeOf(w.shape)
  return { kind: w.kind, description: w.description, bytes: w.bytes(), density: size === 0 ? 1 : w.nonzeros() / size }
}

/** ||after - before|| / ||before|| in doubles; 0 when both are zero, infinity when only `before` is. */
export function relativeError(before: Weight, after: Weight): number {
  const a = denseValues(before)
  const b = denseValues(after)
  let difference = 0
  let norm = 0
  for (let i = 0; i < a.length; i++) {
    const d = b[i]! - a[i]!
    difference += d * d
    norm += a[i]! * a[i]!
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm)
}

export function layerOutcome(before: PlacedWeight, after: PlacedWeight): LayerOutcome {
  const same = before.weight === after.weight
  const facts = factsOf(before.weight)
  const error = same ? 0 : relativeError(before.weight, after.weight)
  return {
    path: after.path,
    shape: after.weight.shape,
    role: after.role,
    before: facts,
    after: same ? facts : factsOf(after.weight),
    error: Number.isFinite(error) ? error : 1e308,
  }
}

/** What every pass must leave intact: the same weights of the same shapes, all finite. A violation is a bug of the pass. */
export function checkInvariants(pass: string, before: Model, after: Model): void {
  const old = before.weights()
  const now = after.weights()
  if (old.length !== now.length || old.some((w, i) => w.path !== now[i]!.path || !sameShape(w.weight.shape, now[i]!.weight.shape)))
    throw new OptionError('ERR_OPTION', `${pass}: the pass changed names or shapes of weights`)
  now.forEach(({ path, weight }, i) => {
    if (weight !== old[i]!.weight) scope(() => checkFinite(pass, 'weight', path, weight.dense()))
  })
  for (const [path, t] of after.state()) checkFinite(pass, 'state', path, t)
}

export function weightBytes(model: Model): number {
  return model.weights().reduce((n, { weight }) => n + weight.bytes(), 0)
}

/** ERR_NUMERIC when the model that comes in holds NaN or infinity. */
export function checkSource(model: Model): void {
  for (const { path, weight } of model.weights()) scope(() => checkFinite(`compress: ${model.info.name}`, 'weight', path, weight.dense()))
  for (const [path, t] of model.state()) checkFinite(`compress: ${model.info.name}`, 'state', path, t)
}
