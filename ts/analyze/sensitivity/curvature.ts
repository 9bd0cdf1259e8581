/**
 * Curvature by layer: the largest eigenvalue of each group's Hessian block on parts of the data (Q-BERT), and the trace of each block (HAWQ-v2). Both are sums of
 * small pieces of work that can be saved: eigenvalues one part of the data after the other, traces one random vector after the other.
 */
import { shuffle } from '../../base/rng.js'
import { subset, type Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import { innerProduct } from '../../ops/index.js'
import { scope, zeros } from '../../tensor/index.js'
import { ModelHessian } from '../hessian/model.js'
import { powerIteration } from '../hessian/power.js'
import { checkFinite, partView, rademacher, streams } from '../hessian/vectors.js'
import { isLossData, type LossData } from '../loss-data.js'
import type { WeightGroup } from './groups.js'
import type { LossOf } from './loss.js'

export interface CurvatureOptions {
  readonly batchSize: number
  /** Of labelled examples. */
  readonly loss?: LossOf | undefined
  readonly seed: number
  readonly keepBytes?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** The data in `count` random parts of the same size, one or two examples (or batches) more or less. */
export function dataShards(data: Dataset | LossData, count: number, seed: number): (Dataset | LossData)[] {
  if (isLossData(data)) {
    const order = shuffle(data.batches.length, seed)
    return Array.from({ length: count }, (_, s): LossData => {
      const [from, to] = [s, s + 1].map((i) => Math.floor((i * order.length) / count))
      const batches = [...order.subarray(from, to)].map((b) => data.batches[b]!)
      return { name: data.name, size: batches.reduce((n, b) => n + b.count, 0), batches }
    })
  }
  const order = shuffle(data.size, seed)
  return Array.from({ length: count }, (_, s) =>
    subset(data, order.subarray(Math.floor((s * data.size) / count), Math.floor(((s + 1) * data.size) / count))),
  )
}

function hessianOf(model: Model, data: Dataset | LossData, layers: readonly string[], options: CurvatureOptions): ModelHessian {
  const { batchSize, loss, keepBytes } = options
  return new ModelHessian(model, data, {
    batchSize,
    layers,
    ...(loss ? { loss } : {}),
    ...(keepBytes === undefined ? {} : { keepBytes }),
  })
}

/** The eigenvalue of largest magnitude of the group's block on one part of the data. */
export async function topEigenvalue(
  model: Model,
  shard: Dataset | LossData,
  group: WeightGroup,
  options: CurvatureOptions & { readonly tolerance: number; readonly maxIterations: number },
): Promise<{ readonly value: number; readonly converged: boolean }> {
  const { signal, seed, tolerance, maxIterations } = options
  const h = hessianOf(model, shard, group.leaves, options)
  try {
    const { pairs } = await powerIteration(h, { seed, tolerance, maxIterations, ...(signal ? { signal } : {}) })
    for (const { vector } of pairs) vector.dispose()
    return { value: pairs[0]!.value, converged: pairs[0]!.converged }
  } finally {
    h.dispose()
  }
}

/** Samples v' H v of every group's block, one row for each random vector. */
export class TraceSampler {
  readonly #h: ModelHessian
  readonly #groupOf: readonly number[]

  constructor(
    model: Model,
    data: Dataset | LossData,
    private readonly groups: readonly WeightGroup[],
    private readonly options: CurvatureOptions,
  ) {
    this.#h = hessianOf(
      model,
      data,
      groups.flatMap(({ leaves }) => leaves),
      options,
    )
    const index = new Map(groups.flatMap(({ leaves }, g) => leaves.map((leaf) => [leaf, g] as const)))
    this.#groupOf = this.#h.parts.map(({ name }) => index.get(name)!)
  }

  /** The share of each group in sample i: the trace of its block, and noise from the blocks beside it. */
  async sample(i: number): Promise<number[]> {
    const h = this.#h
    const v = rademacher(h, this.options.seed, streams.trace, i)
    const product = zeros([h.size], h.dtype)
    try {
      await h.apply(v, product, this.options.signal)
      const out = this.groups.map(() => 0)
      h.parts.forEach((p, j) => {
        const value = scope(() => innerProduct(partView(v, p), partView(product, p)))
        out[this.#groupOf[j]!]! += checkFinite('sensitivities', `v H v of ${p.name}`, value)
      })
      return out
    } finally {
      v.dispose()
      product.dispose()
    }
  }

  dispose(): void {
    this.#h.dispose()
  }
}

export const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length

/** Of a sample; 0 for one value. */
export function deviation(x: readonly number[], of: 'sample' | 'population'): number {
  const m = mean(x)
  const n = of === 'sample' ? x.length - 1 : x.length
  return n > 0 ? Math.sqrt(x.reduce((s, v) => s + (v - m) ** 2, 0) / n) : 0
}
