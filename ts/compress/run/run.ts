/** One run of a recipe: where it stands, and how it gets on. */
import type { Json, JsonObject } from '../../base/json-types.js'
import { Rng } from '../../base/rng.js'
import { modelFileBytes } from '../../models/file.js'
import { placesOf, type Model, type PlacedWeight } from '../../nn/index.js'
import type { CompressEvent, Place } from '../events.js'
import type { PassOutcome } from '../outcome.js'
import type { PassContext, PassState, StatisticRequest } from '../pass.js'
import type { Recipe } from '../recipe.js'
import { release } from '../release.js'
import { pacer } from '../../base/pace.js'
import { calibrate, calibrationSource, Statistics } from './calibrate.js'
import type { CheckpointStore } from './checkpoint.js'
import { checkInvariants, weightBytes } from './layers.js'
import { teachersOf, type CompressOptions, type CompressResult } from './options.js'
import { Recorder } from './recorder.js'
import { passOutcome, runReport, withHistory } from './report.js'
import { checkStep, stepsOf, targetsOf, type Step } from './step.js'

const PROGRESS_MS = 100
const CHECKPOINT_SECONDS = 30

export interface Job {
  readonly source: Model
  readonly sourceHash: string
  readonly recipe: Recipe
  readonly options: CompressOptions
  readonly store: CheckpointStore | undefined
}

export class Run {
  readonly #steps: readonly Step[]
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

  constructor(private readonly job: Job) {
    this.#model = job.source
    this.#steps = stepsOf(job.recipe)
  }

  readonly #emit = (event: CompressEvent): void => this.job.options.onEvent?.(event)

  async run(): Promise<CompressResult> {
    const { source, recipe, options } = this.job
    const breathe = pacer('compress', options.signal)
    await breathe()
    const size = { parameters: source.parameters(), bytes: weightBytes(source) }
    this.#emit({ type: 'run-start', recipe: recipe as unknown as Json, stages: recipe.stages.length, ...size })
    let { index, saved, recorder } = this.#restore()
    let stageBegan = performance.now()
    for (; index < this.#steps.length; index++) {
      const step = this.#steps[index]!
      const { stage, stages, pass, passes } = step.place
      if (pass === 0) {
        stageBegan = performance.now()
        this.#emit({ type: 'stage-start', stage, stages, passes: recipe.stages[stage]!.map((p) => p.pass) })
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
    const found = this.job.options.resume ? this.job.store?.load() : undefined
    if (!this.job.options.resume) this.job.store?.clear()
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
    const place = this.#steps[index]?.place
    this.#emit({ type: 'resume', stage: place?.stage ?? this.job.recipe.stages.length, pass: place?.pass ?? 0, generation, fallback })
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
    for (const step of this.#steps.filter((s) => s.place.stage === stage)) {
      const targets = targetsOf(this.#model, step)
      const asked = step.definition.ask?.(step.spec.options, targets, this.#model)
      if (!asked) continue
      requests.push(...asked.requests)
      samples = Math.max(samples, asked.samples)
    }
    this.#statistics = new Statistics()
    if (requests.length === 0) return
    const seed = Rng.of(this.job.recipe.seed, 'calibration', stage).uint32()
    const progress = (done: number, total: number): void => this.#progress(undefined, 'calibration', done, total)
    const source = calibrationSource(this.job.options.data, this.job.options.task)!
    this.#statistics = await calibrate(this.#model, source, { requests, samples, seed, breathe, progress })
  }

  async #pass(
    step: Step,
    index: number,
    saved: PassState | undefined,
    kept: Recorder | undefined,
    breathe: () => Promise<void>,
  ): Promise<void> {
    const { place: at, spec, definition } = step
    const recorder = kept ?? new Recorder()
    const before = this.#model
    const targets = targetsOf(before, step)
    this.#emit({ type: 'pass-start', at, options: spec.options, targets: targets.map((t) => t.path) })
    const plan = checkStep(before, step, this.job.options)
    if (plan) this.#emit({ type: 'plan', at, plan })
    if (targets.length === 0) {
      const nothing = `${spec.pass}: ${before.info.name} has no weight that it is for (${(spec.targets ?? definition.roles.map((r) => `@${r}`)).join(', ')})`
      // A recipe that asks for a role serves models without it too; a pass that finds nothing of its own kind is suspicious.
      if (spec.targets) recorder.note(nothing)
      else this.#warn(at, recorder, nothing)
    }
    const after = await definition.apply(before, this.#context(step, index, targets, saved, recorder, breathe))
    try {
      checkInvariants(definition, before, after)
    } catch (error) {
      release(after, [this.job.source, before])
      throw error
    }
    const [now, places] = [new Map(after.weights().map((w) => [w.path, w.weight])), placesOf(before)]
    for (const { path, weight } of targets) {
      const others = places.get(weight)!.filter((p) => p !== path)
      if (others.length > 0 && now.get(path) !== weight) recorder.note(`one weight with ${others.join(', ')}, and still is`, path)
    }
    const outcome = passOutcome(step, before, after, targets, recorder)
    this.#outcomes.push(outcome)
    this.#model = after
    if (before !== this.job.source && before !== after) release(before, [this.job.source, after])
    this.#emit({ type: 'pass-end', at, seconds: outcome.seconds, bytesBefore: outcome.bytesBefore, bytesAfter: outcome.bytesAfter })
    if (after !== before) this.#modelName = this.job.store ? this.job.store.saveModel(after) : null
    this.#save(index + 1, undefined, undefined, at)
    await breathe()
  }

  #warn(at: Place, recorder: Recorder, message: string): void {
    recorder.note(message)
    this.#emit({ type: 'warning', at, message })
  }

  #context(
    step: Step,
    index: number,
    targets: readonly PlacedWeight[],
    saved: PassState | undefined,
    recorder: Recorder,
    breathe: () => Promise<void>,
  ): PassContext<JsonObject> {
    const { place: at, spec } = step
    const { data, validation, task, teacherCache, snapshots, signal, checkpointSeconds = CHECKPOINT_SECONDS } = this.job.options
    const teachers = teachersOf(this.job.options)
    const rng = (...path: readonly (string | number)[]): Rng => Rng.of(this.job.recipe.seed, 'pass', at.stage, at.pass, at.name, ...path)
    return {
      options: spec.options,
      targets,
      source: this.job.source,
      fileBytes: (model) => modelFileBytes(withHistory(model, this.job)),
      statistic: (path, statistic) => this.#statistics.get(path, statistic),
      ...(data ? { data } : {}),
      ...(validation ? { validation } : {}),
      ...(task ? { task } : {}),
      ...(teachers ? { teachers } : {}),
      ...(teacherCache === undefined ? {} : { teacherCache }),
      ...(snapshots ? { snapshots } : {}),
      ...(signal ? { signal } : {}),
      ...(saved ? { saved } : {}),
      rng,
      checkpoint: (state, now = false) => {
        if (this.job.store && (now || performance.now() - this.#lastSave >= 1000 * checkpointSeconds))
          this.#save(index, state(), recorder, at)
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
    if (!this.job.store) return
    const tensors = new Map([...(state?.tensors ?? [])].map(([name, raw]) => [`state/${name}`, raw]))
    const inStage = (this.#steps[index]?.place.pass ?? 0) > 0 || state !== undefined
    const statistics = inStage ? this.#statistics.save(tensors) : []
    const json = {
      index,
      seconds: this.#elapsed(),
      outcomes: this.#outcomes as unknown as Json,
      statistics,
      state: state?.json ?? null,
      recorder: recorder?.save() ?? null,
    }
    const { generation, bytes } = this.job.store.save({ json, tensors }, this.#modelName)
    this.#lastSave = performance.now()
    this.#emit({ type: 'checkpoint', at, generation, bytes })
  }

  #elapsed(): number {
    return this.#earlier + (performance.now() - this.#seconds) / 1000
  }

  #finish(): CompressResult {
    const { source, sourceHash, recipe } = this.job
    const model = withHistory(this.#model, this.job)
    const report = runReport(source, model, { sourceHash, recipe, passes: this.#outcomes, seconds: this.#elapsed() })
    this.#emit({ type: 'run-end', seconds: report.seconds, bytes: report.bytesAfter })
    return { model, report }
  }

  /** Frees what the run made. */
  fail(): void {
    if (this.#model !== this.job.source) release(this.#model, [this.job.source])
  }
}
