/** How much to prune and when: pure arithmetic, apart from any weight. */

export interface Amount {
  readonly sparsity?: number | readonly number[] | undefined
  readonly iterative?: { readonly fraction: number; readonly rounds?: number | undefined } | undefined
  readonly compression?: number | undefined
}

/**
 * Density after each round: one-shot and levels are given, iterative removes `fraction` of the survivors each time. With `compression` the last density is
 * that of the whole model, reached at once or in as many rounds as `fraction` needs.
 */
export function densities(amount: Amount, counts: ModelCounts = { total: 1, prunable: 1 }): number[] {
  const { sparsity, iterative, compression } = amount
  if (compression !== undefined) {
    const last = densityFor(compression, counts)
    if (!iterative) return [last]
    const rounds = iterative.rounds ?? Math.max(1, roundsFor(1 / last, iterative.fraction))
    return Array.from({ length: rounds }, (_, r) => (r === rounds - 1 ? last : Math.max(last, (1 - iterative.fraction) ** (r + 1))))
  }
  if (iterative) return Array.from({ length: iterative.rounds ?? 0 }, (_, r) => (1 - iterative.fraction) ** (r + 1))
  return (typeof sparsity === 'number' ? [sparsity] : [...(sparsity ?? [])]).map((s) => 1 - s)
}

/** How many of n stay at a density: the nearest whole number. */
export function keptAt(n: number, density: number): number {
  return Math.min(n, Math.max(0, Math.round(n * density)))
}

/** How many of each stay at a density, so that the sum is what stays of all: rounded along the running sum, each within one of its share. */
export function apportion(sizes: readonly number[], density: number): number[] {
  let [all, given] = [0, 0]
  return sizes.map((n) => {
    all += n
    const kept = keptAt(all, density) - given
    given += kept
    return kept
  })
}

/** Numbers of a model, for the density that a whole-model compression asks for. */
export interface ModelCounts {
  readonly total: number
  /** Of them, those that can be pruned. */
  readonly prunable: number
}

/**
 * Density of the prunable weights at which the whole model has `compression` times fewer: f = (total / c - nonprunable) / prunable (ShrinkBench; Blalock et al.
 * 2020), as a whole number of weights. Below 0: what cannot be pruned alone is more than that.
 */
export function densityFor(compression: number, { total, prunable }: ModelCounts): number {
  return prunable === 0 ? 0 : Math.round(total / compression - (total - prunable)) / prunable
}

/** Rounds of removing `fraction` of the survivors until at least `compression` = all / survivors (methods A2.5). */
export function roundsFor(compression: number, fraction = 0.2): number {
  return Math.max(0, Math.ceil(Math.log(compression) / -Math.log(1 - fraction) - 1e-9))
}

export interface Cubic {
  readonly initial: number
  readonly final: number
  readonly firstStep: number
  readonly everySteps: number
  /** Number of intervals; there are `events + 1` changes, of 0 intervals the one to the final sparsity. */
  readonly events: number
}

/** The cubic schedule of a training of `steps` steps between two shares of it; its last event is at the last step (steps - 1) or before. */
export function cubicOf(
  o: { readonly initial: number; readonly begin: number; readonly end: number; readonly everySteps: number },
  final: number,
  steps: number,
): Cubic {
  const firstStep = Math.min(Math.round(o.begin * steps), Math.max(0, steps - 1))
  const room = Math.max(0, steps - 1 - firstStep)
  const everySteps = Math.min(o.everySteps, Math.max(1, Math.floor((o.end - o.begin) * steps)), Math.max(1, room))
  const events = Math.min(Math.max(1, Math.floor(((o.end - o.begin) * steps) / everySteps)), Math.floor(room / everySteps))
  return { initial: o.initial, final, firstStep, everySteps, events }
}

/** The cubic schedule between its events too: s_i before it, s_f behind it. */
export function cubicAt(c: Pick<Cubic, 'initial' | 'final'>, share: number): number {
  if (share <= 0) return c.initial
  return share >= 1 ? c.final : c.final + (c.initial - c.final) * (1 - share) ** 3
}

/**
 * s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3 (Zhu, Gupta 2017); undefined between events. Exactly s_i at t0 and s_f at the last.
 */
export function cubicSparsity(c: Cubic, step: number): number | undefined {
  const since = step - c.firstStep
  if (since < 0 || since % c.everySteps !== 0) return undefined
  const event = since / c.everySteps
  if (event > c.events) return undefined
  if (event === c.events) return c.final
  if (event === 0) return c.initial
  return c.final + (c.initial - c.final) * (1 - event / c.events) ** 3
}
