/**
 * Mixed precision by sensitivity: layers that the loss depends on get more bits, others fewer, so that the file is within a budget of bytes (or the products
 * within one of time). What a layer loses is known from the Hessian - its trace (HAWQ-v2, Dong et al. 2020, arXiv 1911.03852, equation 10) or its largest
 * eigenvalue over parts of the data (Q-BERT, Shen et al. 2020, arXiv 1909.05840, section 3.1) - or measured; the bits are the exact optimum (HAWQ-v3, Yao et al.
 * 2021, arXiv 2011.10680, section 3.3). Weights only.
 */
import { z } from 'zod'
import {
  assignmentRules,
  canBeRounded,
  checkBits,
  checkKnown,
  KEEP,
  knownSensitivities,
  layerTimes,
  parseBudget,
  sensitivities,
  sensitivityMethods,
  weightGroups,
  type GroupSensitivity,
  type KnownSensitivities,
  type LayerTimes,
  type Sensitivities,
  type SensitivityState,
} from '../../analyze/sensitivity/index.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { isTersorError } from '../../base/errors.js'
import { shuffle } from '../../base/rng.js'
import { subset, type Dataset } from '../../data/dataset.js'
import { modelFileBytes } from '../../models/file.js'
import type { Model, Weight } from '../../nn/index.js'
import { sharedNote } from '../convert.js'
import { gramOf } from '../observe/gram.js'
import { definePass, type PassContext } from '../pass.js'
import { calibrationSource } from '../run/calibrate.js'
import { scoresClasses, taskLosses } from '../train/task-losses.js'
import { checkBudget, fitBudget, RoundedWeights, type BudgetFacts } from './mixed-budget.js'
import { gridOptions, roundTo } from './mixed-grids.js'

const NAME = 'quantize/mixed'

function isBudget(value: number | string, context: z.RefinementCtx): void {
  try {
    parseBudget(value)
  } catch (error) {
    if (!isTersorError(error)) throw error
    context.addIssue({ code: 'custom', message: error.message.replace(/^budget: |, got .*$/g, '') })
  }
}

const options = z.strictObject({
  /** "8x" of the file's bytes, bytes of the file (40000, "300KiB", "1.5MB"), or milliseconds of a forward pass ("12.5ms"). */
  budget: z.union([z.number(), z.string()]).superRefine(isBudget).default('8x'),
  /** Bit widths to choose from: 2 to 8, and 32 for a weight as it is. */
  bits: z
    .array(z.union([z.int().min(2).max(8), z.literal(KEEP)]))
    .min(1)
    .max(8)
    .default([2, 3, 4, 8]),
  method: z.enum(sensitivityMethods).default('trace'),
  /** 'reversed' and 'random' are controls: they spend the same budget by wrong figures. */
  assignment: z.enum(assignmentRules).default('optimal'),
  /** Never fewer bits for a more sensitive group. */
  monotone: z.boolean().default(false),
  /** Patterns of paths whose weights get their bits together: "blocks.*". */
  groups: z.array(z.string()).default([]),
  /** Round to nearest, or so that the outputs of layers change least (`quantize/gptq`), at the same scales. */
  rounding: z.enum(['nearest', 'output']).default('nearest'),
  ...gridOptions,
  /** Examples to measure on. */
  samples: z.int().positive().max(1e7).default(512),
  /** Eigenvalues: parts of these examples. */
  shards: z.int().positive().max(1000).default(10),
  tolerance: z.number().nonnegative().max(1).optional(),
  iterations: z.int().positive().max(1e5).optional(),
  /** Known figures in place of measured ones, by group: the sensitivity, or the cost at each number of bits. `tersor sensitivity --recipe` writes them. */
  sensitivities: z.record(z.string(), z.union([z.number(), z.record(z.string(), z.number())])).optional(),
})
type MixedOptions = z.output<typeof options>

export const mixed = definePass({
  name: NAME,
  version: 1,
  summary: 'bits for each layer by its sensitivity (Hessian or measured), within a budget of bytes or time',
  options,
  needs: (o) => ({
    calibration: o.rounding === 'output' || parseBudget(o.budget).kind === 'ms',
    losses: o.sensitivities === undefined,
  }),
  roles: ['matrix', 'kernel', 'table'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests:
      o.rounding === 'output'
        ? targets.filter(canBeRounded).flatMap(({ layer, module, name }) => {
            const statistic = name === 'weight' ? gramOf(module) : undefined
            return statistic ? [{ path: layer, statistic }] : []
          })
        : [],
  }),
  plan: (model, o, { targets, examples }) => {
    if (!targets.some(canBeRounded)) return undefined
    const groups = weightGroups(NAME, model, targets, o.groups)
    if (o.sensitivities) checkKnown(NAME, groups, checkBits(NAME, o.bits), o.sensitivities)
    return {
      groups: groups.length,
      parameters: groups.reduce((n, g) => n + g.parameters, 0),
      method: o.sensitivities ? 'given' : o.method,
      ...(examples === undefined || o.sensitivities ? {} : { examples: Math.min(examples, o.samples) }),
      ...(o.sensitivities ? {} : work(o, groups.length)),
    }
  },
  apply: async (model, context) => {
    if (!context.targets.some(canBeRounded)) return model
    return new Mixing(model, context).run()
  },
})

/** The most that has to be done. */
function work(o: MixedOptions, groups: number): JsonObject {
  if (o.method === 'trace') return { products: o.iterations ?? 64 }
  if (o.method === 'eigenvalue') return { products: groups * o.shards * (o.iterations ?? 100), of: `1/${o.shards} of the examples` }
  return { evaluations: groups * o.bits.length + 1 }
}

class Mixing {
  readonly #o: MixedOptions
  readonly #data: Dataset | undefined
  readonly #rounded: RoundedWeights
  readonly #facts: BudgetFacts
  readonly #bits: number[]
  #state: { sensitivity: SensitivityState | null; times: LayerTimes | null }

  constructor(
    private readonly model: Model,
    private readonly context: PassContext<MixedOptions>,
  ) {
    const o = context.options
    this.#o = o
    this.#bits = checkBits(NAME, o.bits)
    const { data, breathe } = context
    this.#data =
      data && (data.size <= o.samples ? data : subset(data, shuffle(data.size, context.rng('data').uint32()).subarray(0, o.samples)))
    const groups = weightGroups(NAME, model, context.targets, o.groups)
    this.#rounded = new RoundedWeights(groups, this.#round)
    this.#facts = {
      where: NAME,
      model,
      groups,
      budget: parseBudget(o.budget),
      sourceBytes: modelFileBytes(context.source),
      fileBytes: context.fileBytes,
      breathe,
    }
    const saved = context.saved?.json as unknown as { sensitivity: SensitivityState | null; times: LayerTimes | null } | undefined
    this.#state = saved ?? { sensitivity: null, times: null }
  }

  readonly #round: ConstructorParameters<typeof RoundedWeights>[1] = (target, bits) =>
    roundTo(NAME, target, bits, this.#o, this.context.breathe)

  #save(now: boolean): void {
    this.context.checkpoint(() => ({ json: this.#state as unknown as JsonObject, tensors: new Map() }), now)
  }

  async run(): Promise<Model> {
    const { context, model } = this
    try {
      const times = await this.#times()
      const rest = await checkBudget(this.#facts, this.#rounded, this.#bits[0]!, times)
      const found = this.#o.sensitivities ? await this.#given(this.#o.sensitivities) : await this.#measured()
      const { assignment: rule, monotone } = this.#o
      const seed = context.rng('assignment').uint32()
      const chosen = await fitBudget(this.#facts, this.#rounded, found, rest, { rule, monotone, seed, layerTimes: times })
      if (this.#o.rounding === 'output') await this.#outputs()
      this.#report(found, chosen.bits)
      context.figure('sensitivities', found as unknown as Json)
      context.figure('assignment', {
        rule,
        bits: chosen.bits,
        bytes: chosen.bytes,
        fileBytes: chosen.fileBytes,
        cost: chosen.cost,
        ...(chosen.ms === undefined ? {} : { ms: chosen.ms }),
      })
      return model.withWeights(this.#rounded.weights())
    } catch (error) {
      this.#rounded.dispose()
      throw error
    }
  }

  async #times(): Promise<LayerTimes | undefined> {
    if (this.#facts.budget.kind !== 'ms') return undefined
    const { signal, progress } = this.context
    if (!this.#state.times) {
      const source = calibrationSource(this.#data, this.context.task)!
      const times = await layerTimes(this.model, this.#data ?? ((of) => source.batches(of, Uint32Array.of(0))[0]!.input()), {
        groups: this.#facts.groups,
        bits: this.#bits,
        quantize: this.#round,
        ...(signal ? { signal } : {}),
        onProgress: (done, total) => progress('times of layers', done, total),
      })
      // Kept: another measurement would give other figures, and perhaps other bits.
      this.#state = { ...this.#state, times }
      this.#save(true)
    }
    this.context.figure('times', this.#state.times as unknown as Json)
    return this.#state.times!
  }

  async #measured(): Promise<Sensitivities> {
    const { context } = this
    const { method, groups, shards, tolerance, iterations } = this.#o
    const { data, task, rng } = context
    const labelled = data && scoresClasses(this.model)
    const losses = labelled ? this.#data! : await taskLosses(this.model, task!, { samples: this.#o.samples, seed: rng('data').uint32() })
    const parts = 'batches' in losses ? losses.batches.length : losses.size
    const found = await sensitivities(this.model, losses, {
      method,
      bits: this.#bits,
      groups,
      shards: Math.min(shards, parts),
      targets: context.targets,
      quantize: this.#round,
      seed: context.rng('sensitivity').uint32(),
      ...(tolerance === undefined ? {} : { tolerance }),
      ...(iterations === undefined ? {} : { iterations }),
      ...(context.signal ? { signal: context.signal } : {}),
      onProgress: ({ stage, done, total }) => context.progress(`sensitivity: ${stage}`, done, total),
      ...(this.#state.sensitivity ? { state: this.#state.sensitivity } : {}),
      onState: (sensitivity) => {
        this.#state = { ...this.#state, sensitivity }
        this.#save(false)
      },
    })
    this.#save(true)
    return found
  }

  /** Bytes and distances are found here, the figures of the loss were given. */
  async #given(known: KnownSensitivities): Promise<Pick<Sensitivities, 'groups'>> {
    return { groups: await knownSensitivities(NAME, this.#facts.groups, this.#bits, known, this.#round, this.context.breathe) }
  }

  /** The same bits and scales, with codes that disturb the outputs least. */
  async #outputs(): Promise<void> {
    const targets = this.#facts.groups.flatMap((g) => g.targets)
    for (const [done, target] of targets.entries()) {
      const statistic = target.name === 'weight' ? gramOf(target.module) : undefined
      const gram = statistic && this.context.statistic(target.layer, statistic)
      const bits = this.#rounded.bitsOf(target.path)
      if (gram && this.#rounded.weights().has(target.path))
        this.#rounded.replace(target.path, await roundTo(NAME, target, bits, this.#o, this.context.breathe, gram))
      this.context.progress('outputs', done + 1, targets.length)
    }
  }

  #report(found: Pick<Sensitivities, 'groups'>, bits: Readonly<Record<string, number>>): void {
    for (const target of this.context.targets)
      if (!canBeRounded(target)) this.context.note(`left alone: ${target.weight.description} is not a floating matrix`, target.path)
    const weights = this.#rounded.weights()
    const before = new Map<string, Weight>(this.context.targets.map((t) => [t.path, t.weight]))
    for (const g of found.groups)
      for (const path of g.paths) {
        const weight = weights.get(path)
        const shared = weight && sharedNote(before.get(path)!)
        if (shared !== undefined) this.context.note(shared, path)
        const bytes = weight ? `${weight.bytes()} bytes` : 'as it is'
        this.context.note(`${curvatureText(g)}: ${bits[g.name]} bits, ${bytes}${g.paths.length > 1 ? ` (group ${g.name})` : ''}`, path)
      }
  }
}

/** What is known of a group's curvature, for notes. */
export function curvatureText(g: GroupSensitivity): string {
  const short = (v: number): string => String(Number(v.toPrecision(3)))
  if (g.eigenvalue)
    return `largest eigenvalue ${short(g.eigenvalue.mean)} +- ${short(g.eigenvalue.deviation)} over ${g.eigenvalue.shards.length} parts`
  if (g.trace)
    return `trace ${short(g.trace.value)}${g.trace.standardError === null ? '' : ` +- ${short(g.trace.standardError)}`}, ${short(g.sensitivity)} for each weight`
  return `sensitivity ${short(g.sensitivity)}`
}
