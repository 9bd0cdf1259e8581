/**
 * An error budget: everything in 8 bits, then back to higher precision what costs most, until the model is good enough.
 *
 *   1. every layer alone in 8 bits (weights and inputs), and with 8-bit weights alone: the error of the model's outputs on a few examples
 *   2. steps by the error that they take away: the input of a layer is floating again (its weight stays 8 bits), or the layer is
 *   3. the fewest steps for which the figure holds, by bisection: accuracy at most `maxDrop` points below the model's own (of language models: the share of tokens
 *      that had the highest score), or without labels outputs whose signal to noise is at least `sqnr` decibels
 *
 * Errors of single layers nearly add up (they are small and independent), so the order is good; whether the figure holds is measured on the whole model, never
 * added up. After all steps the model is the one that came in: some number of them always holds.
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model, PlacedWeight } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import type { ValueRange } from '../observe/ranges.js'
import { definePass, type PassContext } from '../pass.js'
import { calibrationSource } from '../run/calibrate.js'
import type { TrainTask } from '../train/task.js'
import { findGrids } from './encode.js'
import { inputOptions, inputQuantization, rangeStatistic } from './input-range.js'
import { assignment, dropUnused, stepsOf, type Candidate, type Errors, type Form } from './auto-steps.js'
import { integerGrid, integerWeight, isProduct, multipliesInput } from './integer-weight.js'
import { accuracyOf, decibels, hasLabels, OutputError } from './judge.js'

const NAME = 'quantize/auto'

const options = z.strictObject({
  /** Points (percent) of accuracy that may be lost, where the data have labels. */
  maxDrop: z.number().min(0).max(100).default(0.5),
  /** Decibels of signal to noise that the outputs must have, where they have none: 20 is an error of 10 % of the outputs, 40 of 1 %. */
  sqnr: z.number().min(0).max(200).default(20),
  /** auto: accuracy for classifiers and encoders with a probe on data with labels, and for tasks that count it on held-out data; else sqnr. */
  measure: z.enum(['auto', 'accuracy', 'sqnr']).default('auto'),
  /** Examples on which single layers are measured (and sqnr). */
  probes: z.int().positive().max(1e5).default(32),
  ...inputOptions,
  calibration: inputOptions.calibration.unwrap().default('minmax'),
  /** Range of the weights. */
  range: z.enum(['max', 'mse']).default('max'),
})
type AutoOptions = z.output<typeof options>
type Context = PassContext<AutoOptions>

export const auto = definePass({
  name: NAME,
  version: 1,
  summary: '8-bit weights and inputs wherever accuracy allows it; the worst layers stay floating',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.filter((t) => isProduct(t) && multipliesInput(t)).map(({ layer }) => ({ path: layer, statistic: rangeStatistic(o) })),
  }),
  plan: (model, o, { targets, validated, ...given }) => {
    judgeOf(model, o, given)
    const layers = targets.filter(isProduct).length
    const evaluations = 2 + Math.ceil(Math.log2(2 * layers + 1))
    return {
      layers,
      'runs over the probes': 2 * layers,
      evaluations,
      on: validated ? 'validation data' : 'calibration data',
      maxDrop: o.maxDrop,
    }
  },
  apply: async (model, context) => {
    const candidates: Candidate[] = []
    try {
      await prepare(candidates, context)
      const state = new Findings(context)
      const errors = await layerErrors(model, candidates, context, state)
      const steps = stepsOf(candidates, errors)
      const taken = await fewest(model, candidates, steps.length, (k) => assignment(candidates, steps.slice(0, k)), context, state)
      const chosen = assignment(candidates, steps.slice(0, taken))
      tell(candidates, errors, chosen, context)
      return model.withWeights(new Map([...chosen].flatMap(([c, form]) => (form === 'f32' ? [] : [[c.target.path, c[form]] as const]))))
    } catch (error) {
      dropUnused(candidates, new Map())
      throw error
    }
  },
})

/** Layers in their 8-bit forms. */
async function prepare(candidates: Candidate[], { targets, options: o, statistic, note, breathe }: Context): Promise<void> {
  for (const target of targets) {
    if (!isProduct(target)) {
      note(`left alone: ${target.weight.description} with role ${target.role} does not multiply integers`, target.path)
      continue
    }
    const integers = multipliesInput(target)
    const seen = integers ? statistic<ValueRange>(target.layer, rangeStatistic(o)) : undefined
    if (integers && !seen) {
      note('left alone: no calibration example reached this layer', target.path)
      continue
    }
    const found = await findGrids(NAME, target.path, target.weight, integerGrid(o.range), breathe)
    const weights = scope(() => integerWeight(target, found, null))
    const both = seen && scope(() => integerWeight(target, found, inputQuantization(seen, o)))
    candidates.push({ target, weights, int8: both ?? weights })
  }
}

/** What was measured so far; goes into checkpoints, so that a resumed run measures nothing twice. */
class Findings {
  readonly errors: number[]
  readonly figures: [steps: number, figure: number][]
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
    const { errors = [], figures = [] } = (context.saved?.json ?? {}) as { errors?: number[]; figures?: [number, number][] }
    this.errors = [...errors]
    this.figures = [...figures]
  }

  save(): void {
    const json = { errors: this.errors, figures: this.figures } as unknown as JsonObject
    this.#context.checkpoint(() => ({ json, tensors: new Map() }))
  }
}

const changed = (model: Model, at: PlacedWeight, c: Candidate, form: 'int8' | 'weights'): Model =>
  model.withWeights(new Map([[at.path, c[form]]]))

/** Of each layer alone, in both forms. */
async function layerErrors(model: Model, candidates: readonly Candidate[], context: Context, state: Findings): Promise<Errors[]> {
  const { data, options: o, progress, breathe } = context
  const error = new OutputError(calibrationSource(data, context.task)!, o.probes, breathe)
  const trials = candidates.flatMap((c) => (['int8', 'weights'] as const).map((form) => ({ c, form })))
  for (const [i, { c, form }] of trials.entries()) {
    if (i < state.errors.length) continue
    const same = form === 'weights' && c.weights === c.int8
    state.errors.push(same ? state.errors[i - 1]! : await error.measure(changed(model, c.target, c, form), model))
    state.save()
    progress(`${NAME}: single layers`, i + 1, trials.length)
  }
  return candidates.map((_, i) => ({ int8: state.errors[2 * i]!, weights: state.errors[2 * i + 1]! }))
}

/** The smallest number of steps for which the figure holds, by bisection; reports what it found. */
async function fewest(
  model: Model,
  candidates: readonly Candidate[],
  most: number,
  assigned: (steps: number) => ReadonlyMap<Candidate, Form>,
  context: Context,
  state: Findings,
): Promise<number> {
  const { options: o, data, validation, signal, figure, progress, breathe, warn } = context
  const counted = judgeOf(model, o, context)
  const error = new OutputError(calibrationSource(validation ?? data, context.task)!, o.probes, breathe)
  const trial = (steps: number): Model =>
    model.withWeights(new Map([...assigned(steps)].flatMap(([c, form]) => (form === 'f32' ? [] : [[c.target.path, c[form]] as const]))))
  const evaluate = async (of: Model): Promise<number> =>
    counted ? 100 * (await counted(of, breathe, signal)) : decibels(await error.measure(of, model))
  const all = 2 + Math.ceil(Math.log2(most + 1))
  const at = async (steps: number): Promise<number> => {
    const known = state.figures.find(([k]) => k === steps)
    if (known) return known[1]
    const found = await evaluate(steps < 0 ? model : trial(steps))
    state.figures.push([steps, found])
    state.save()
    progress(`${NAME}: ${counted ? 'accuracy' : 'outputs'}`, state.figures.length, all)
    return found
  }
  const reference = counted ? await at(-1) : undefined
  const least = counted ? reference! - o.maxDrop : o.sqnr
  // A rounding error of percentages is no drop.
  const holds = async (steps: number): Promise<boolean> => (await at(steps)) >= least - 1e-9
  let [low, high] = [0, most]
  if (candidates.length > 0 && !(await holds(0))) {
    // low does not hold, high does: after all steps the model is the one that came in.
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (await holds(middle)) high = middle
      else low = middle
    }
  } else high = 0
  if (high === most && most > 0) warn(`${NAME}: ${counted ? `${o.maxDrop} points` : `${o.sqnr} dB`} leave no layer in 8 bits`)
  const reached = high === most && most > 0 ? (reference ?? 300) : candidates.length > 0 ? await at(high) : (reference ?? 300)
  figure('figure', counted ? 'accuracy' : 'sqnr')
  figure('measured on', validation || (counted && !data) ? 'validation data' : 'calibration data')
  if (reference !== undefined) figure('before', reference)
  figure('after', reached)
  figure('least', least)
  figure('evaluations', state.figures.length)
  return high
}

interface Given {
  readonly data?: Dataset | undefined
  readonly validation?: Dataset | undefined
  readonly task?: TrainTask | undefined
}
type Accuracy = (model: Model, breathe: () => Promise<void>, signal: AbortSignal | undefined) => Promise<number>

/** How accuracy is counted; undefined where outputs are compared. ERR_OPTION where it should be counted and cannot be. */
function judgeOf(model: Model, { measure }: AutoOptions, { data, validation, task }: Given): Accuracy | undefined {
  if (measure === 'sqnr') return undefined
  const held = validation ?? data
  if (held && hasLabels(model, held)) return async (of, _breathe, signal) => (await accuracyOf(of, held, signal))!
  if (task?.evaluate && task.figures?.accuracy === 'max') return async (of, breathe) => (await task.evaluate!(of, breathe)).accuracy!
  if (measure === 'auto') return undefined
  const { name, task: use } = model.info
  const why = held
    ? `${name} is for ${use}, ${held.name} has ${held.classes.length} classes`
    : `${name} is for ${use}, ${task?.evaluate ? `${task.name} counts no accuracy` : 'there are no validation data'}`
  throw new OptionError(
    'ERR_OPTION',
    `${NAME}: measure 'accuracy' needs a classifier, or an encoder with a probe, and labels, or a task that counts it on validation data; ${why}`,
    { details: { pointer: '/measure' } },
  )
}

/** The report: each layer's error and what became of it. */
function tell(
  candidates: readonly Candidate[],
  errors: readonly Errors[],
  chosen: ReadonlyMap<Candidate, Form>,
  { figure, note }: Context,
): void {
  const rounded = (error: number): number => Number(decibels(error).toFixed(2))
  const rows = candidates.map((c, i) => {
    const form = chosen.get(c)!
    const [alone, weights] = [rounded(errors[i]!.int8), rounded(errors[i]!.weights)]
    const costs = form === 'f32' ? c.target.weight.bytes() - c.int8.bytes() : 0
    if (form !== 'int8')
      note(`${form === 'f32' ? 'stays floating' : '8-bit weight, floating input'}: ${alone} dB in 8 bits alone`, c.target.path)
    return { path: c.target.path, form, sqnr: alone, weightsSqnr: weights, bytesMore: costs }
  })
  figure('layers', rows)
  figure('restored', rows.filter((r) => r.form !== 'int8').length)
  dropUnused(candidates, chosen)
}
