/**
 * Sharpness-aware minimization: the gradient is taken where the loss is worst nearby. `ascend` moves the weights there and gives a function that
 * puts them back, bit for bit; between the two the caller computes the gradients that its optimizer steps with.
 */
import { z } from 'zod'
import { abs, assign, axpby, copy, mul, scaleShift } from '../ops/index.js'
import { keep, scope, type Tensor } from '../tensor/index.js'
import { globalNorm } from './clip.js'
import type { Parameter } from './optimizer.js'

export const samSchema = z.strictObject({
  /** Radius of the neighbourhood. Foret et al.: 0.05; ASAM: 0.5 to 1. */
  rho: z.number().positive().finite(),
  /** ASAM (Kwon et al. 2021): the neighbourhood of a weight scales with its magnitude. */
  adaptive: z.boolean().default(false),
  /** Added to the magnitudes; ASAM only. */
  eta: z.number().nonnegative().finite().default(0.01),
})
export type SamSpec = z.output<typeof samSchema>

/**
 * Moves every weight by rho g / |g| (Foret et al. 2021, eq. 2), with `adaptive` by rho T^2 g / |T g|, T = |w| + eta for weights and 1 for
 * leaves of `plain` (Kwon et al. 2021, eq. 10); norms over all weights. Where g is 0 the weight stays as it is.
 *
 * @example
 * const restore = ascend({ rho: 0.05, adaptive: false, eta: 0 }, leaves, grads)
 * try { second = gradients() } finally { restore() }
 */
export function ascend(
  spec: SamSpec,
  parameters: ReadonlyMap<string, Parameter>,
  grads: ReadonlyMap<string, Tensor>,
  plain: (path: string) => boolean = () => false,
): () => void {
  const saved = new Map<string, Tensor>()
  scope(() => {
    for (const [path, { value }] of parameters) saved.set(path, keep(copy(value)))
    const scale = (path: string): Tensor | null =>
      spec.adaptive && !plain(path) ? scaleShift(abs(parameters.get(path)!.value), 1, spec.eta) : null
    const directions = new Map<string, { readonly scale: Tensor | null; readonly direction: Tensor }>()
    for (const [path, g] of grads) {
      const t = scale(path)
      directions.set(path, { scale: t, direction: t ? mul(t, g) : g })
    }
    const norm = globalNorm([...directions.values()].map(({ direction }) => direction))
    if (norm > 0)
      for (const [path, { scale: t, direction }] of directions)
        axpby(parameters.get(path)!.value, t ? mul(t, direction) : direction, spec.rho / norm, 1)
  })
  return () => {
    for (const [path, before] of saved) {
      assign(parameters.get(path)!.value, before)
      before.dispose()
    }
    saved.clear()
  }
}
