/** Weights before and after: what they cost, and how far apart they are. */
import { OptionError } from '../../base/errors.js'
import { sameShape, sizeOf } from '../../base/shape.js'
import { placesOf, specTensors, type Model, type PlacedWeight, type Weight } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import type { AnyPass } from '../pass.js'
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
  const [was, is] = [before.weight.shape, after.weight.shape]
  const kept = sameShape(was, is)
  const error = same || !kept ? 0 : relativeError(before.weight, after.weight)
  return {
    path: after.path,
    shape: is,
    role: after.role,
    before: facts,
    after: same ? facts : factsOf(after.weight),
    error: Number.isFinite(error) ? error : 1e308,
    ...(kept ? {} : { shapeBefore: [...was] }),
  }
}

/** Weights with what they were before, by path; those that are gone are left out. */
export function pairs(before: Model, after: Model): { readonly old: PlacedWeight; readonly now: PlacedWeight }[] {
  const old = new Map(before.weights().map((w) => [w.path, w]))
  return after.weights().flatMap((now) => (old.has(now.path) ? [{ old: old.get(now.path)!, now }] : []))
}

/**
 * What a pass must leave intact: the same weights of the same shapes, all finite. One that changes shapes may only make them smaller, or leave some out, and
 * what the architecture says must be what is there; 'any' may be another net. A violation is a bug of the pass.
 */
export function checkInvariants({ name: pass, changesShapes }: Pick<AnyPass, 'name' | 'changesShapes'>, before: Model, after: Model): void {
  const now = after.weights()
  const both = pairs(before, after)
  const bad = (what: string): never => {
    throw new OptionError('ERR_OPTION', `${pass}: the pass changed names or shapes of weights: ${what}`)
  }
  const anything = changesShapes === 'any'
  if ((!anything && both.length !== now.length) || (!changesShapes && both.length !== before.weights().length))
    bad('there are others than before')
  for (const { old, now: w } of both) {
    const [was, is] = [old.weight.shape, w.weight.shape]
    const smaller = was.length === is.length && is.every((d, i) => d >= 1 && d <= was[i]!)
    if (!anything && !(changesShapes ? smaller : sameShape(was, is))) bad(`${w.path} was [${was}] and is [${is}]`)
  }
  if (!anything) {
    const after = new Map(now.map((w) => [w.path, w.weight]))
    for (const places of placesOf(before).values()) {
      const made = new Set(places.flatMap((path) => after.get(path) ?? []))
      if (made.size > 1) bad(`${places.join(' and ')} shared one weight and have ${made.size}`)
    }
  }
  const known = new Set(before.weights().map((w) => w.weight))
  for (const { path, weight } of now) if (!known.has(weight)) scope(() => checkFinite(pass, 'weight', path, weight.dense()))
  if (changesShapes) {
    const said = new Map(specTensors(after.spec()).map(({ path, shape }) => [path, shape]))
    for (const { path, weight } of now)
      if (!sameShape(said.get(path) ?? [-1], weight.shape))
        bad(`${path} is [${weight.shape}], the architecture says [${said.get(path) ?? []}]`)
  }
  for (const [path, t] of after.state()) checkFinite(pass, 'state', path, t)
}

/** Of each weight once, however many layers share it. */
export function weightBytes(model: Model): number {
  return [...placesOf(model).keys()].reduce((n, weight) => n + weight.bytes(), 0)
}

/** ERR_NUMERIC when the model that comes in holds NaN or infinity. */
export function checkSource(model: Model): void {
  for (const { path, weight } of model.weights()) scope(() => checkFinite(`compress: ${model.info.name}`, 'weight', path, weight.dense()))
  for (const [path, t] of model.state()) checkFinite(`compress: ${model.info.name}`, 'state', path, t)
}
