/**
 * Distillation as a pass: a smaller student learns from the model as it is, or from teachers that are given. The student is cut out of the model by a layer
 * map (DistilBERT, PKD), or an architecture of its own with fresh weights, as JSON; after it other passes compress the student further.
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import { build, freshValues, Model, parameterCount, type ModuleSpec } from '../../nn/index.js'
import { definePass, type PassContext, type PassState } from '../pass.js'
import { release } from '../release.js'
import { distillSchema } from '../train/distill/options.js'
import { retrainTask } from '../train/retrain-task.js'
import { trainSettingsSchema, trainingOf, type TrainSettings } from '../train/settings.js'
import { packState, unpackState, type TrainState } from '../train/state.js'
import { runTraining } from '../train/training.js'
import { cutLayers, cuttable, keptLayers } from './cut.js'

const NAME = 'distill/train'

const options = z.strictObject({
  student: z.union(
    [
      /** Numbers of the layers that stay. */
      z.strictObject({ keep: z.array(z.int().nonnegative()).min(1).max(1024) }),
      /** How many stay: spread over all with both ends, or the first. */
      z.strictObject({ layers: z.int().positive().max(1024), from: z.enum(['uniform', 'first']).default('uniform') }),
      /** Another architecture with fresh weights, for the same inputs and outputs. */
      z.strictObject({
        spec: z.custom<JsonObject>(
          (v) => typeof v === 'object' && v !== null && !Array.isArray(v) && typeof (v as { kind?: unknown }).kind === 'string',
          'must be an architecture: { kind, config, children }',
        ),
      }),
      /** The model itself: it learns from the teachers and stays as large as it is. */
      z.strictObject({ same: z.literal(true) }),
    ],
    { error: 'must be one of { layers }, { keep }, { spec } and { same: true }' },
  ),
  /** How to train, where the model's history does not say. */
  training: trainSettingsSchema.optional(),
  /** Instead of the epochs of that training. */
  epochs: z.int().positive().max(1e6).optional(),
  distill: distillSchema.default(() => distillSchema.parse({})),
})
export type DistillTrainOptions = z.output<typeof options>

/** The student before its training. It shares what it can with the model. */
function studentOf(model: Model, { student }: DistillTrainOptions, rng: PassContext<unknown>['rng']): Model {
  if ('same' in student) return model
  if ('spec' in student) return new Model(build(student.spec as unknown as ModuleSpec, freshValues(rng('init'))), model.info, model.extras)
  if ('keep' in student) return cutLayers(model, student.keep)
  const of = cuttable(model).names.length
  if (student.layers > of)
    throw new OptionError('ERR_OPTION', `${NAME}: /student/layers: ${model.info.name} has ${of} layers, got ${student.layers}`, {
      details: { pointer: '/student/layers' },
    })
  return cutLayers(model, keptLayers(student.from, student.layers, of))
}

function settingsOf(model: Model, o: DistillTrainOptions): TrainSettings {
  const found = o.training ?? trainingOf(model.info)
  if (!found)
    throw new OptionError('ERR_OPTION', `${NAME}: the history of ${model.info.name} names no training; give it as the option "training"`, {
      details: { pointer: '/training' },
    })
  const { ema: _ema, earlyStop: _stop, keepBest: _best, metric: _metric, ...settings } = found
  return o.epochs === undefined ? settings : { ...settings, epochs: o.epochs }
}

export const distillTrain = definePass({
  name: NAME,
  version: 1,
  summary: 'trains a smaller student, cut from the model or another net, to answer as the model does',
  options,
  needs: (o) => ({ training: true, ...('spec' in o.student ? { teachers: true } : { distill: o.distill }) }),
  changesShapes: 'any',
  roles: ['matrix', 'kernel', 'table', 'vector'],
  plan: (model, o, { examples }): JsonObject => {
    const { epochs } = settingsOf(model, o)
    const parameters =
      'spec' in o.student ? parameterCount(o.student.spec as unknown as ModuleSpec) : studentOf(model, o, undefined as never).parameters()
    return { epochs, parameters, parametersBefore: model.parameters(), ...(examples === undefined ? {} : { examples }) }
  },
  apply: async (model, context) => {
    const { options: o, saved, signal, emit, rng, checkpoint, figure, source } = context
    const student = studentOf(model, o, rng)
    const settings = { ...settingsOf(source, o), seed: rng('train').uint32() }
    // Whoever teaches is the model that comes in, not what a recipe began with.
    const task = retrainTask({ ...context, source: model }, o.distill)
    const pack = (state: TrainState): PassState => {
      const { json, tensors } = packState(state)
      return { json: { train: json }, tensors }
    }
    try {
      const start = saved ? { resume: unpackState(saved.json.train, saved.tensors) } : {}
      const hooks = {
        label: 'distillation',
        onEvent: emit,
        checkpoint: (state: () => TrainState, now: boolean) => checkpoint(() => pack(state()), now),
        ...(signal ? { signal } : {}),
      }
      const result = await runTraining(student, task, settings, hooks, start, {})
      figure('parameters', result.model.parameters())
      figure('parametersBefore', model.parameters())
      release(student, [model, result.model, source])
      return result.model
    } catch (error) {
      release(student, [model, source])
      throw error
    }
  },
})
