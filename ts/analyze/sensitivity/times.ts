/**
 * Milliseconds of each weight's products by bits, on this machine: forward passes in which every target weight measures its own calls. The least of several rounds
 * that take turns: what disturbs a measurement only adds to it.
 */
import type { RawTensor } from '../../base/dtype.js'
import type { Json } from '../../base/json-types.js'
import { pacer } from '../../base/pace.js'
import type { Dataset } from '../../data/dataset.js'
import { batchInputs, evaluationBatches } from '../../models/inputs.js'
import type { Leaf, Model, ModuleInput, Weight, WeightUse } from '../../nn/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import type { WeightGroup } from './groups.js'
import { KEEP, type Quantize } from './rounded.js'

/** A weight that adds up the time of its calls. */
class TimedWeight implements Weight {
  readonly kind: string
  ms = 0
  constructor(readonly inner: Weight) {
    this.kind = inner.kind
  }
  get shape(): readonly number[] {
    return this.inner.shape
  }
  get description(): string {
    return this.inner.description
  }
  bytes(): number {
    return this.inner.bytes()
  }
  nonzeros(): number {
    return this.inner.nonzeros()
  }
  dense(): Tensor {
    return this.inner.dense()
  }
  apply(x: Tensor, use: WeightUse): Tensor {
    const began = performance.now()
    const y = this.inner.apply(x, use)
    this.ms += performance.now() - began
    return y
  }
  parts(): Readonly<Record<string, RawTensor>> {
    return this.inner.parts()
  }
  config(): Json {
    return this.inner.config()
  }
  trainable(): readonly Leaf[] {
    return this.inner.trainable()
  }
  dispose(): void {
    this.inner.dispose()
  }
}

export interface TimeOptions {
  readonly groups: readonly WeightGroup[]
  readonly bits: readonly number[]
  readonly quantize: Quantize
  /** Examples of the batch that is run; default 1. */
  readonly batch?: number
  /** Default 15, after 3 that do not count. */
  readonly rounds?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
}

export interface LayerTimes {
  /** Of each group, by its bits in their order. */
  readonly groups: Readonly<Record<string, readonly number[]>>
  /** A forward pass of the model as it is, and what of it is not spent in the targets' products. */
  readonly model: number
  readonly rest: number
}

function middleBatch(model: Model, data: Dataset, batch: number): (of: Model) => ModuleInput {
  const batches = evaluationBatches(model, data, Math.min(batch, data.size))
  const indices = batches[batches.length >> 1]!
  return (of) => batchInputs(of, data, indices).x
}

/** Measures them on a batch of middling length, or on the input that is given. The figures are for that batch. ERR_ABORTED between passes. */
export async function layerTimes(model: Model, data: Dataset | ((of: Model) => ModuleInput), options: TimeOptions): Promise<LayerTimes> {
  const { groups, bits, batch = 1, rounds = 15, signal, onProgress } = options
  const breathe = pacer('layer times', signal)
  const input = typeof data === 'function' ? data : middleBatch(model, data, batch)
  const targets = groups.flatMap((g) => g.targets)
  const variants: { model: Model; timed: Map<string, TimedWeight>; best: Map<string, number> }[] = []
  let [whole, own] = [Infinity, Infinity]
  try {
    for (const b of [KEEP, ...bits]) {
      const timed = new Map<string, TimedWeight>()
      variants.push({ model, timed, best: new Map() })
      for (const target of targets) {
        await breathe()
        timed.set(target.path, new TimedWeight(b === KEEP ? target.weight : await options.quantize(target, b)))
      }
      variants.at(-1)!.model = model.withWeights(timed)
    }
    for (let round = -3; round < rounds; round++)
      for (const [v, { model: variant, timed, best }] of variants.entries()) {
        await breathe()
        for (const w of timed.values()) w.ms = 0
        const began = performance.now()
        scope(() => void variant.forward(input(variant)).read())
        const total = performance.now() - began
        if (round < 0) continue
        for (const [path, { ms }] of timed) best.set(path, Math.min(best.get(path) ?? Infinity, ms))
        if (v === 0 && total < whole) [whole, own] = [total, [...timed.values()].reduce((n, w) => n + w.ms, 0)]
        onProgress?.(round * variants.length + v + 1, rounds * variants.length)
      }
  } finally {
    // The first variant's weights are the model's own.
    for (const { timed } of variants.slice(1)) for (const w of timed.values()) if (!targets.some((t) => t.weight === w.inner)) w.dispose()
  }
  const timeOf = (g: WeightGroup, v: number): number => g.targets.reduce((n, { path }) => n + variants[v + 1]!.best.get(path)!, 0)
  return {
    groups: Object.fromEntries(groups.map((g) => [g.name, bits.map((_, v) => timeOf(g, v))])),
    model: whole,
    rest: Math.max(0, whole - own),
  }
}
