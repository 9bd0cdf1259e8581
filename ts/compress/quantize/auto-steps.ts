/** The way back from 8 bits to floating layers, step by step, the one that takes most error away first. In plain arithmetic. */
import type { PlacedWeight, QuantizedWeight } from '../../nn/index.js'

/** int8: weight and input are codes; weights: the weight is, its input is floating; f32: the layer as it came. */
export const forms = ['int8', 'weights', 'f32'] as const
export type Form = (typeof forms)[number]

export interface Candidate {
  readonly target: PlacedWeight
  /** The same object as `weights` where the input cannot be codes (recurrent layers). */
  readonly int8: QuantizedWeight
  readonly weights: QuantizedWeight
}

/** Shares of the outputs' energy that a layer alone costs. */
export interface Errors {
  readonly int8: number
  readonly weights: number
}

export interface Step<C> {
  readonly candidate: C
  readonly to: Form
}

/** Less than this share of the error goes with the input alone: then the layer goes back at once. */
const HALF = 0.5

/**
 * Steps by the error that they take away. A layer whose error is mostly that of its input first gets the input back, which costs no bytes, and its weight later;
 * others go back at once.
 */
export function stepsOf<C extends { readonly int8: unknown; readonly weights: unknown }>(
  candidates: readonly C[],
  errors: readonly Errors[],
): Step<C>[] {
  const steps = candidates.flatMap((candidate, i) => {
    const { int8, weights } = errors[i]!
    const last = { candidate, to: 'f32' as const }
    return candidate.int8 !== candidate.weights && weights <= HALF * int8
      ? [{ candidate, to: 'weights' as const, gain: int8 - weights }, { ...last, gain: weights }] // prettier-ignore
      : [{ ...last, gain: int8 }]
  })
  // Of equal gains the earlier layer, and the first step of a layer before its second.
  return steps.map((step, i) => ({ step, i })).sort((a, b) => b.step.gain - a.step.gain || a.i - b.i).map(({ step }) => step) // prettier-ignore
}

/** What each layer is after these steps. */
export function assignment<C>(candidates: readonly C[], steps: readonly Step<C>[]): Map<C, Form> {
  const out = new Map<C, Form>(candidates.map((c) => [c, 'int8']))
  for (const { candidate, to } of steps) if (forms.indexOf(to) > forms.indexOf(out.get(candidate)!)) out.set(candidate, to)
  return out
}

/** Frees the weights that no layer took. */
export function dropUnused(candidates: readonly Candidate[], chosen: ReadonlyMap<Candidate, Form>): void {
  for (const c of candidates) {
    const form = chosen.get(c)
    const kept = form === 'int8' || form === 'weights' ? c[form] : undefined
    for (const w of new Set([c.int8, c.weights])) if (w !== kept) w.dispose()
  }
}
