/**
 * How much each layer of a model (or group of layers) loses by fewer bits: see `SensitivityMethod`. Memory does not grow with the number of examples or layers:
 * one group is looked at after the other, recordings are kept up to `keepBytes`. Everything that took time is in the state that `onState` hands out: a run that
 * starts from it goes on where it ended and gives the same figures, bit for bit.
 */
import { OptionError } from '../../base/errors.js'
import { pacer } from '../../base/pace.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model, PlacedWeight, Weight } from '../../nn/index.js'
import { checkCount, checkTolerance } from '../hessian/options.js'
import { isLossData, type LossData } from '../loss-data.js'
import { dataShards, deviation, mean, topEigenvalue, TraceSampler } from './curvature.js'
import { groupFacts, weightGroups, type WeightGroup } from './groups.js'
import { lossRule, measureLoss, type LossOf, type LossRule, type Measured } from './loss.js'
import { checkBits, KEEP, roundGroup, type Quantize, type Rounded } from './rounded.js'
import { methods, type GroupSensitivity, type Sensitivities, type SensitivityChoice, type SensitivityMethod } from './types.js'

const WHERE = 'sensitivities'
export interface SensitivityProgress {
  readonly stage: 'rounding' | 'eigenvalues' | 'trace' | 'loss'
  readonly done: number
  readonly total: number
}

/** What is known so far: plain JSON. */
export interface SensitivityState {
  readonly reference?: Measured
  readonly rounded: Readonly<Record<string, readonly Rounded[]>>
  readonly eigenvalues: Readonly<Record<string, readonly { readonly value: number; readonly converged: boolean }[]>>
  readonly traces: readonly (readonly number[])[]
  readonly direct: Readonly<Record<string, readonly Measured[]>>
}

export interface SensitivityOptions {
  /** Default 'trace'. */
  readonly method?: SensitivityMethod
  /** Bit widths to choose from, 2 to 8, and 32 for "as it is"; default 2, 3, 4, 8. */
  readonly bits?: readonly number[]
  /** A target's weight in so many bits. What it makes is disposed here. */
  readonly quantize: Quantize
  /** Default: all weights. Those that are not floating matrices, kernels or tables are left out. */
  readonly targets?: readonly PlacedWeight[]
  /** Patterns of paths whose weights get their bits together ("blocks.*": one group for each block); others stand by themselves. */
  readonly groups?: readonly string[]
  /** Eigenvalues: parts of the data; default 10. */
  readonly shards?: number
  /** Eigenvalues: stop rule of the power iteration; default 1e-2. Traces: standard error over the trace, of every group; default 5e-2. */
  readonly tolerance?: number
  /** Most products for an eigenvalue (default 100), most random vectors for the traces (default 64; at least 8 are taken). */
  readonly iterations?: number
  /** Examples per batch; default 256, of texts 16. Not for data that are batches already. */
  readonly batchSize?: number
  readonly loss?: LossOf
  readonly keepBytes?: number
  /** Integer in [0, 2^53); default 0. */
  readonly seed?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: SensitivityProgress) => void
  /** Where an interrupted run stood. */
  readonly state?: SensitivityState
  /** Called after each piece of work with all that is known. */
  readonly onState?: (state: SensitivityState) => void
}

const nothing: SensitivityState = { rounded: {}, eigenvalues: {}, traces: [], direct: {} }

/**
 * Measures them, on labelled examples or on batches with a loss of their own (`taskLosses`: texts of language models and whatever else a task learns from).
 *
 * - no examples: ERR_DATA; nothing to round, a group that fits nothing, a model without class scores and no loss, bad numbers: ERR_OPTION
 * - a loss or a product that is not finite: ERR_NUMERIC with the batch; the signal: ERR_ABORTED
 */
export async function sensitivities(model: Model, data: Dataset | LossData, options: SensitivityOptions): Promise<Sensitivities> {
  return new Measurement(model, data, options).run()
}

class Measurement {
  readonly #method: SensitivityMethod
  readonly #bits: readonly number[]
  readonly #groups: readonly WeightGroup[]
  readonly #rule: LossRule | undefined
  readonly #batchSize: number
  readonly #seed: number
  readonly #breathe: () => Promise<void>
  #state: SensitivityState

  constructor(
    private readonly model: Model,
    private readonly data: Dataset | LossData,
    private readonly options: SensitivityOptions,
  ) {
    const { method = 'trace', bits = [2, 3, 4, 8], seed = 0, batchSize = 'input' in data && data.input === 'text' ? 16 : 256 } = options
    if (!methods.includes(method))
      throw new OptionError('ERR_OPTION', `${WHERE}: method must be one of ${methods.join(', ')}, got ${method}`)
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new OptionError('ERR_OPTION', `${WHERE}: seed must be an integer in [0, 2^53), got ${seed}`)
    this.#method = method
    this.#bits = checkBits(WHERE, bits)
    this.#rule = isLossData(data) ? undefined : lossRule(WHERE, model, data, options.loss)
    this.#groups = weightGroups(WHERE, model, options.targets ?? model.weights(), options.groups ?? [])
    this.#batchSize = checkCount(WHERE, 'batchSize', batchSize, 1)
    this.#seed = seed
    this.#breathe = pacer(WHERE, options.signal)
    this.#state = options.state ?? nothing
  }

  #progress(stage: SensitivityProgress['stage'], done: number, total: number): void {
    this.options.onProgress?.({ stage, done, total })
  }

  #know(change: Partial<SensitivityState>): void {
    this.#state = { ...this.#state, ...change }
    this.options.onState?.(this.#state)
  }

  async run(): Promise<Sensitivities> {
    await this.#breathe()
    if (!this.#state.reference) this.#know({ reference: await this.#measure(this.model) })
    await this.#round()
    if (this.#method === 'eigenvalue') await this.#eigenvalues()
    if (this.#method === 'trace') await this.#traces()
    if (this.#method === 'direct') await this.#direct()
    const { model, data } = this
    return {
      sensitivity: 1,
      method: this.#method,
      model: model.info.name,
      data: data.name,
      examples: data.size,
      seed: this.#seed,
      ...this.#state.reference!,
      groups: this.#groups.map((g, i) => this.#result(g, i)),
    }
  }

  #measure(model: Model): Promise<Measured> {
    return measureLoss(WHERE, model, this.data, this.#rule, {
      batchSize: this.#batchSize,
      signal: this.options.signal,
      breathe: this.#breathe,
    })
  }

  /** What each choice costs in bytes, and how far it is from the weights. */
  async #round(): Promise<void> {
    for (const [i, group] of this.#groups.entries()) {
      this.#progress('rounding', i, this.#groups.length)
      if (this.#state.rounded[group.name]) continue
      const found = await roundGroup(group, this.#bits, this.options.quantize, this.#breathe)
      this.#know({ rounded: { ...this.#state.rounded, [group.name]: found } })
    }
    this.#progress('rounding', this.#groups.length, this.#groups.length)
  }

  async #eigenvalues(): Promise<void> {
    const { shards = 10, tolerance = 1e-2, iterations = 100, signal, keepBytes } = this.options
    checkCount(WHERE, 'shards', shards, 1, isLossData(this.data) ? this.data.batches.length : this.data.size)
    const parts = dataShards(this.data, shards, this.#seed)
    const shared = {
      batchSize: this.#batchSize,
      loss: this.#rule?.loss,
      seed: this.#seed,
      tolerance: checkTolerance(WHERE, tolerance),
      maxIterations: checkCount(WHERE, 'iterations', iterations, 1),
      signal,
      keepBytes,
    }
    for (const [i, group] of this.#groups.entries())
      for (const [s, part] of parts.entries()) {
        this.#progress('eigenvalues', i * shards + s, this.#groups.length * shards)
        const known = this.#state.eigenvalues[group.name] ?? []
        if (known.length > s) continue
        const found = await topEigenvalue(this.model, part, group, shared)
        this.#know({ eigenvalues: { ...this.#state.eigenvalues, [group.name]: [...known, found] } })
      }
    this.#progress('eigenvalues', this.#groups.length * shards, this.#groups.length * shards)
  }

  async #traces(): Promise<void> {
    const { tolerance = 5e-2, iterations = 64, signal, keepBytes } = this.options
    checkTolerance(WHERE, tolerance)
    checkCount(WHERE, 'iterations', iterations, 1)
    const options = { batchSize: this.#batchSize, loss: this.#rule?.loss, seed: this.#seed, signal, keepBytes }
    const sampler = new TraceSampler(this.model, this.data, this.#groups, options)
    const settled = (): boolean => {
      const samples = this.#state.traces
      return (
        samples.length >= 8 &&
        this.#groups.every((_, g) => {
          const own = samples.map((row) => row[g]!)
          return deviation(own, 'sample') / Math.sqrt(own.length) <= tolerance * Math.abs(mean(own))
        })
      )
    }
    try {
      while (this.#state.traces.length < iterations && !settled()) {
        this.#progress('trace', this.#state.traces.length, iterations)
        this.#know({ traces: [...this.#state.traces, await sampler.sample(this.#state.traces.length)] })
      }
    } finally {
      sampler.dispose()
    }
    this.#progress('trace', iterations, iterations)
  }

  async #direct(): Promise<void> {
    const total = this.#groups.length * this.#bits.length
    for (const [i, group] of this.#groups.entries()) {
      for (const [b, bits] of this.#bits.entries()) {
        this.#progress('loss', i * this.#bits.length + b, total)
        const known = this.#state.direct[group.name] ?? []
        if (known.length > b) continue
        const found = bits === KEEP ? this.#state.reference! : await this.#alone(group, bits)
        this.#know({ direct: { ...this.#state.direct, [group.name]: [...known, found] } })
      }
    }
    this.#progress('loss', total, total)
  }

  /** The loss with one group rounded and all others as they are. */
  async #alone(group: WeightGroup, bits: number): Promise<Measured> {
    const changed = new Map<string, Weight>()
    try {
      for (const target of group.targets) changed.set(target.path, await this.options.quantize(target, bits))
      return await this.#measure(this.model.withWeights(changed))
    } finally {
      for (const w of changed.values()) w.dispose()
    }
  }

  #result(group: WeightGroup, index: number): GroupSensitivity {
    const rounded = this.#state.rounded[group.name]!
    const { coefficient, facts } = this.#coefficient(group, index)
    const measured = this.#state.direct[group.name]
    const choices = rounded.map((r, b): SensitivityChoice => {
      const own = measured?.[b]
      if (!own) return { ...r, cost: (coefficient * r.perturbation) / 2 }
      return { ...r, cost: own.loss - this.#state.reference!.loss, ...(own.accuracy === undefined ? {} : { accuracy: own.accuracy }) }
    })
    return { ...groupFacts(group), sensitivity: coefficient, ...facts, choices }
  }

  #coefficient(group: WeightGroup, index: number): { coefficient: number; facts: Partial<GroupSensitivity> } {
    if (this.#method === 'eigenvalue') {
      const found = this.#state.eigenvalues[group.name]!
      const shards = found.map(({ value }) => value)
      const facts = { mean: mean(shards), deviation: deviation(shards, 'population') }
      const converged = found.filter((f) => f.converged).length
      return { coefficient: Math.abs(facts.mean) + facts.deviation, facts: { eigenvalue: { ...facts, shards, converged } } }
    }
    if (this.#method === 'trace') {
      const samples = this.#state.traces.map((row) => row[index]!)
      const value = mean(samples)
      const standardError = samples.length > 1 ? deviation(samples, 'sample') / Math.sqrt(samples.length) : null
      // A block with more negative than positive curvature has not converged: it is as far from flat as one that bends upwards.
      return { coefficient: Math.abs(value) / group.parameters, facts: { trace: { value, standardError, samples: samples.length } } }
    }
    const worst = this.#state.rounded[group.name]![0]!
    const increase = this.#state.direct[group.name]![0]!.loss - this.#state.reference!.loss
    return { coefficient: worst.perturbation > 0 ? (2 * increase) / worst.perturbation : 0, facts: {} }
  }
}
