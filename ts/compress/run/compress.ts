/**
 * Runs a recipe on a model: stages in order, in each one sweep over the data and then its passes.
 *
 * Contract: the model given is not changed. Targets, options and needs of every pass are checked before the first one runs. After each pass
 * the invariants are checked and a checkpoint is written; an interrupted run that is resumed gives the same bits and the same report
 * (apart from times) as one that was not. Errors and aborts leave the last checkpoint in place.
 */
import { OptionError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { Rng } from '../../base/rng.js'
import { VERSION } from '../../base/version.js'
import type { Model, PlacedWeight } from '../../nn/index.js'
import type { CompressEvent, Place } from '../events.js'
import type { CompressReport, PassOutcome } from '../outcome.js'
import type { AnyPass, PassContext, PassSpec, PassState, StatisticRequest } from '../pass.js'
import { parseRecipe, type Recipe } from '../recipe.js'
import { passDefinition } from '../registry.js'
import { release } from '../release.js'
import { selectTargets } from '../targets.js'
import { pacer } from '../train/pace.js'
import { calibrate, Statistics } from './calibrate.js'
import { CheckpointStore } from './checkpoint.js'
import { modelHash, runKey } from './fingerprint.js'
import { checkInvariants, checkSource, factsOf, layerOutcome, weightBytes } from './layers.js'
import type { CompressOptions, CompressResult } from './options.js'
import { Recorder } from './recorder.js'

const PROGRESS_MS = 100
const CHECKPOINT_SECONDS = 30

interface Step {
  readonly place: Place
  readonly spec: PassSpec
  readonly definition: AnyPass
}

/**
 * Compresses a model by a recipe (an object, JSON text, or what `recipe()` gives).
 *
 * @example
 * const { model: small, report } = await compress(model, recipe([[quantize.rtn({ bits: 4, layout: 'group' })]]))
 */
export async function compress(model: Model, recipe: Recipe | JsonObject | string, options: CompressOptions = {}): Promise<CompressResult> {
  const parsed = parseRecipe(recipe)
  const steps = parsed.stages.flatMap((stage, s) =>
    stage.map((spec, p) => ({
      place: { stage: s, stages: parsed.stages.length, pass: p, passes: stage.length, name: spec.pass },
      spec,
      definition: passDefinition(spec.pass),
    })),
  )
  checkSource(model)
  for (const step of steps) checkStep(model, step, options)
  const sourceHash = modelHash(model)
  const store = options.checkpointDir === undefined ? undefined : new CheckpointStore(options.checkpointDir, runKey(sourceHash, parsed, options))
  const run = new Run(model, parsed, steps, sourceHash, options, store)
  try {
    return await run.run()
  } catch (error) {
    run.fail()
    throw error
  } finally {
    store?.close()
  }
}

function where(step: Step): string {
  return `/stages/${step.place.stage}/${step.place.pass}`
}

/** What can be known to fail is told before anything runs. */
function checkStep(model: Model, step: Step, { data, validation, snapshots }: CompressOptions): JsonObject | undefined {
  const { definition, spec } = step
  const targets = selectTargets(model, spec, definition.roles, where(step))
  const needs = definition.needs?.(spec.options) ?? {}
  if ((needs.calibration || needs.training) && !data)
    throw new OptionError('ERR_OPTION', `${spec.pass}: needs data ${needs.training ? 'to train on' : 'for calibration'}; give it as the option "data"`)
  return definition.plan?.(model, spec.options, { targets, examples: data?.size, validated: validation !== undefined, snapshots })
}

class Run {
  /** Outcomes of the passes that are done. */
  readonly #outcomes: PassOutcome[] = []
  readonly #seconds = performance.now()
  #earlier = 0
  #model: Model
  #statistics = new Statistics()
  /** The file of #model, null while it is the source. */
  #modelName: string | null = null
  #lastSave = performance.now()
  #lastProgress = 0

  constructor(
    private readonly source: Model,
    private readonly recipe: Recipe,
    private readonly steps: readonly Step[],
    private readonly sourceHash: string,
    private readonly options: CompressOptions,
    private readonly store: CheckpointStore | undefined,
  ) {
    this.#model = source
  }

  readonly #emit = (event: CompressEvent): void => this.options.onEvent?.(event)

  async run(): Promise<CompressResult> {
    const breathe = pacer('compress', this.options.signal)
    await breathe()
    this.#emit({ type: 'run-start', recipe: this.recipe as unknown as Json, stages: this.recipe.stages.length, parameters: this.source.parameters(), bytes: weightBytes(this.source) })
    let { index, saved, recorder } = this.#restore()
    let stageBegan = performance.now()
    for (; index < this.steps.length; index++) {
      const step = this.steps[index]!
      const { stage, stages, pass, passes } = step.place
      if (pass === 0) {
        stageBegan = performance.now()
        this.#emit({ type: 'stage-start', stage, stages, passes: this.recipe.stages[stage]!.map((p) => p.pass) })
        // A state saved inside the stage brings the statistics that the stage began with.
        if (!saved) await this.#calibrate(stage, breathe)
      }
      await this.#pass(step, index, saved, recorder, breathe)
      saved = undefined
      recorder = undefined
      if (pass === passes - 1) this.#emit({ type: 'stage-end', stage, stages, seconds: (performance.now() - stageBegan) / 1000 })
    }
    return this.#finish()
  }

  #restore(): { index: number; saved: PassState | undefined; recorder: Recorder | undefined } {
    const found = this.options.resume ? this.store?.load() : undefined
    if (!this.options.resume) this.store?.clear()
    if (!found) return { index: 0, saved: undefined, recorder: undefined }
    const { json, tensors, generation, fallback } = found
    const index = json.index as number
    if (found.model) {
      this.#model = found.model
      this.#modelName = found.modelName
    }
    this.#outcomes.push(...(json.outcomes as unknown as PassOutcome[]))
    this.#earlier = json.seconds as number
    this.#statistics = Statistics.restore(json.statistics!, tensors)
    const state = json.state as JsonObject | null
    const own = new Map([...tensors].filter(([name]) => name.startsWith('state/')).map(([name, raw]) => [name.slice(6), raw]))
    const place = this.steps[index]?.place
    this.#emit({ type: 'resume', stage: place?.stage ?? this.recipe.stages.length, pass: place?.pass ?? 0, generation, fallback })
    if (fallback) this.#emit({ type: 'warning', message: 'the newest checkpoint is damaged; going on from the one before' })
    return {
      index,
      saved: state ? { json: state, tensors: own } : undefined,
      recorder: json.recorder ? new Recorder(json.recorder as JsonObject) : undefined,
    }
  }

  async #calibrate(stage: number, breathe: () => Promise<void>): Promise<void> {
    const requests: StatisticRequest[] = []
    let samples = 0
    for (const step of this.steps.filter((s) => s.place.stage === stage)) {
      const targets = selectTargets(this.#model, step.spec, step.definition.roles, where(step))
      const asked = step.definition.ask?.(step.spec.options, targets, this.#model)
      if (!asked) continue
      requests.push(...asked.requests)
      samples = Math.max(samples, asked.samples)
    }
    this.#statistics = new Statistics()
    if (requests.length === 0) return
    const seed = Rng.of(this.recipe.seed, 'calibration', stage).uint32()
    const progress = (done: number, total: number): void => this.#progress(undefined, 'calibration', done, total)
    this.#statistics = await calibrate(this.#model, this.options.data!, { requests, samples, seed, breathe, progress })
  }

  async #pass(step: Step, index: number, saved: PassState | undefined, kept: Recorder | undefined, breathe: () => Promise<void>): Promise<void> {
    const { place: at, spec, definition } = step
    const recorder = kept ?? new Recorder()
    const before = this.#model
    const targets = selectTargets(before, spec, definition.roles, where(step))
    this.#emit({ type: 'pass-start', at, options: spec.options, targets: targets.map((t) => t.path) })
    const plan = checkStep(before, step, this.options)
    if (plan) this.#emit({ type: 'plan', at, plan })
    if (targets.length === 0) {
      const nothing = `${spec.pass}: ${before.info.name} has no weight that it is for (${(spec.targets ?? definition.roles.map((r) => `@${r}`)).join(', ')})`
      // A recipe that asks for a role serves models without it too; a pass that finds nothing of its own kind is suspicious.
      if (spec.targets) recorder.note(nothing)
      else this.#warn(at, recorder, nothing)
    }
    const after = await definition.apply(before, this.#context(step, index, targets, saved, recorder, breathe))
    checkInvariants(spec.pass, before, after)
    const outcome = this.#outcome(step, before, after, targets, recorder)
    this.#outcomes.push(outcome)
    this.#model = after
    if (before !== this.source && before !== after) release(before, [this.source, after])
    this.#emit({ type: 'pass-end', at, seconds: outcome.seconds, bytesBefore: outcome.bytesBefore, bytesAfter: outcome.bytesAfter })
    if (after !== before) this.#modelName = this.store ? this.store.saveModel(after) : null
    this.#save(index + 1, undefined, undefined, at)
    await breathe()
  }

  #warn(at: Place, recorder: Recorder, message: string): void {
    recorder.note(message)
    this.#emit({ type: 'warning', at, message })
  }

  #outcome({ place, spec, definition }: Step, before: Model, after: Model, targets: readonly PlacedWeight[], recorder: Recorder): PassOutcome {
    const old = before.weights()
    return {
      stage: place.stage,
      index: place.pass,
      pass: spec.pass,
      version: definition.version,
      options: spec.options,
      targets: targets.map((t) => t.path),
      bytesBefore: weightBytes(before),
      bytesAfter: weightBytes(after),
      layers: after.weights().flatMap((w, i) => (w.weight === old[i]!.weight ? [] : [layerOutcome(old[i]!, w)])),
      ...recorder.outcome(),
    }
  }

  #context(step: Step, index: number, targets: readonly PlacedWeight[], saved: PassState | undefined, recorder: Recorder, breathe: () => Promise<void>): PassContext<JsonObject> {
    const { place: at, spec } = step
    const { data, validation, snapshots, signal, checkpointSeconds = CHECKPOINT_SECONDS } = this.options
    const rng = (...path: readonly (string | number)[]): Rng => Rng.of(this.recipe.seed, 'pass', at.stage, at.pass, at.name, ...path)
    return {
      options: spec.options,
      targets,
      statistic: (path, statistic) => this.#statistics.get(path, statistic),
      ...(data ? { data } : {}),
      ...(validation ? { validation } : {}),
      ...(snapshots ? { snapshots } : {}),
      ...(signal ? { signal } : {}),
      ...(saved ? { saved } : {}),
      seed: rng().uint32(),
      rng,
      checkpoint: (state, now = false) => {
        if (this.store && (now || performance.now() - this.#lastSave >= 1000 * checkpointSeconds)) this.#save(index, state(), recorder, at)
      },
      breathe,
      emit: (event) => {
        recorder.see(event)
        this.#emit({ ...event, at } as CompressEvent)
      },
      progress: (task, done, total) => this.#progress(at, task, done, total),
      note: (text, path) => recorder.note(text, path),
      warn: (message) => this.#warn(at, recorder, message),
      figure: (name, value) => recorder.figure(name, value),
    }
  }

  #progress(at: Place | undefined, task: string, done: number, total: number): void {
    const now = performance.now()
    if (done < total && now - this.#lastProgress < PROGRESS_MS) return
    this.#lastProgress = now
    this.#emit({ type: 'progress', ...(at ? { at } : {}), task, done, total })
  }

  #save(index: number, state: PassState | undefined, recorder: Recorder | undefined, at: Place): void {
    if (!this.store) return
    const tensors = new Map([...(state?.tensors ?? [])].map(([name, raw]) => [`state/${name}`, raw]))
    const inStage = (this.steps[index]?.place.pass ?? 0) > 0 || state !== undefined
    const statistics = inStage ? this.#statistics.save(tensors) : []
    const json = {
      index,
      seconds: this.#elapsed(),
      outcomes: this.#outcomes as unknown as Json,
      statistics,
      state: state?.json ?? null,
      recorder: recorder?.save() ?? null,
    }
    const { generation, bytes } = this.store.save({ json, tensors }, this.#modelName)
    this.#lastSave = performance.now()
    this.#emit({ type: 'checkpoint', at, generation, bytes })
  }

  #elapsed(): number {
    return this.#earlier + (performance.now() - this.#seconds) / 1000
  }

  #finish(): CompressResult {
    const { source, recipe } = this
    const { history } = source.info
    const entry = {
      kind: 'compress',
      tersor: VERSION,
      recipe: recipe as unknown as Json,
      source: { name: source.info.name, hash: this.sourceHash },
      ...(this.options.data ? { data: this.options.data.name, examples: this.options.data.size } : {}),
    }
    const model = this.#model.withInfo({ history: [...history, entry] })
    const before = source.weights()
    const layers = model.weights().map((w, i) => layerOutcome(before[i]!, w))
    const bytesAfter = layers.reduce((n, l) => n + l.after.bytes, 0)
    const report: CompressReport = {
      name: source.info.name,
      recipe: recipe as unknown as Json,
      seed: recipe.seed,
      sourceHash: this.sourceHash,
      versions: { tersor: VERSION, passes: Object.fromEntries(this.steps.map((s) => [s.spec.pass, s.definition.version])) },
      bytesBefore: before.reduce((n, { weight }) => n + factsOf(weight).bytes, 0),
      bytesAfter,
      parameters: source.parameters(),
      nonzeros: model.weights().reduce((n, { weight }) => n + weight.nonzeros(), 0),
      seconds: this.#elapsed(),
      passes: this.#outcomes,
      layers,
    }
    this.#emit({ type: 'run-end', seconds: report.seconds, bytes: bytesAfter })
    return { model, report }
  }

  /** Frees what the run made. */
  fail(): void {
    if (this.#model !== this.source) release(this.#model, [this.source])
  }
}
