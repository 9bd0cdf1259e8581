/**
 * Quantization-aware training: weights, and the inputs of layers, are rounded to their grids in every forward pass while the network trains on, so that it learns to
 * live with the rounding; then weights become codes that compute what was trained. Three schemes:
 *
 *   jacob    ranges of inputs by exponential averages with an exact zero, gradients stop where values are clipped, batch norms folded before rounding
 *            (Jacob et al., CVPR 2018, section 3)
 *   q8bert   symmetric, scales of max |w| in each step, average of max |x|, gradients pass everywhere (Zafrir et al. 2019, section 3)
 *   lsq      the steps of weights and inputs are learned (Esser et al., ICLR 2020)
 *
 * The result has the same kinds of weights as quantize/static-int8 and quantize/rtn. Pruned weights stay exactly 0. Tables and recurrent weights are rounded, their
 * inputs are not.
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import { QuantizedWeight, type FakeConfig, type FakeInputConfig, type Model, type PlacedWeight } from '../../nn/index.js'
import { sizeOf } from '../../base/shape.js'
import { magnitudeOf } from '../observe/magnitude.js'
import { definePass, type PassContext, type PassState } from '../pass.js'
import { owning, release } from '../release.js'
import { retrainEpochs, retrainPlan, retrainSchema, checkRetrain, type Retrain } from '../train/retrain.js'
import { trainSettingsSchema, trainingOf } from '../train/settings.js'
import { packState, unpackState, type TrainState } from '../train/state.js'
import { distillOption, retrainTask, stepsPerEpoch } from '../train/retrain-task.js'
import { runTraining } from '../train/training.js'
import { batchNorms, canTrainFake, fakeModel, hardenModel, normsBehind, quantizesInput, type FakePlan } from './fake-model.js'
import { groupCount } from './grid.js'

const NAME = 'quantize/qat'

const options = z
  .strictObject({
    scheme: z.enum(['jacob', 'q8bert', 'lsq']).default('jacob'),
    /** Of weights. */
    bits: z.int().min(2).max(8).default(8),
    /** Bits of single weights, by path (mixed precision): the others have `bits`. */
    weightBits: z.record(z.string(), z.int().min(2).max(8)).optional(),
    /** Bits of the inputs of linear layers and convolutions, or 'none': inputs stay floating. Integer kernels have 8 bits; with fewer, values are clamped before. */
    inputs: z.union([z.int().min(2).max(8), z.literal('none')]).default(8),
    /** What shares a scale; the papers have one for the tensor. */
    layout: z.enum(['tensor', 'channel', 'group']).default('tensor'),
    /** Most values that share a scale where layout is 'group'. */
    groupSize: z
      .int()
      .min(2)
      .max(2 ** 20)
      .default(32),
    /** Codes of weights. Affine ones need floating inputs. */
    mode: z.enum(['symmetric', 'affine']).default('symmetric'),
    /** Of the averages of input ranges; default 0.99 (jacob), 0.9999 (q8bert). */
    decay: z.number().min(0).lt(1).optional(),
    /** Steps in which input ranges are only watched. */
    delay: z
      .int()
      .nonnegative()
      .max(2 ** 24)
      .default(0),
    /** Round weights as they stand behind the folding of the batch norm that follows. */
    foldNorms: z.boolean().default(true),
    /** Batch norms keep the statistics that they have. */
    freezeNorms: z.boolean().default(true),
    /** 'finetune' or 'rewindLearningRate'. */
    retrain: retrainSchema.default({ kind: 'finetune', epochs: 1 } as Retrain),
    /** Train towards a teacher too: the uncompressed model, or those of the run. */
    distill: distillOption,
    /** How the model was trained, where its history does not say. */
    training: trainSettingsSchema.optional(),
    /** Examples that learned steps of inputs begin with. */
    samples: z.int().positive().max(1e7).default(256),
  })
  .refine((o) => o.retrain.kind === 'finetune' || o.retrain.kind === 'rewindLearningRate', {
    message: "must be 'finetune' or 'rewindLearningRate': quantization-aware training goes on from the trained weights",
    path: ['retrain', 'kind'],
  })
  .refine((o) => o.mode === 'symmetric' || (o.scheme !== 'lsq' && o.inputs === 'none'), {
    message: "affine codes of weights need inputs 'none' and a scheme other than lsq",
    path: ['mode'],
  })
  .refine((o) => o.layout !== 'group' || o.inputs === 'none', { message: "groups need inputs 'none'", path: ['layout'] })
type QatOptions = z.output<typeof options>

const GRADIENT = { jacob: 'clipped', q8bert: 'straight', lsq: 'learned' } as const
const INPUT = { jacob: 'affine', q8bert: 'symmetric', lsq: 'learned' } as const
const DECAY = { jacob: 0.99, q8bert: 0.9999, lsq: 0 } as const

export const qat = definePass({
  name: NAME,
  version: 1,
  summary: 'trains on with rounded weights and inputs, then stores the codes (quantization-aware training)',
  options,
  needs: (o) => ({ training: true, calibration: learnsInputs(o), distill: o.distill }),
  roles: ['matrix', 'kernel', 'table'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: learnsInputs(o)
      ? targets.filter((t) => canTrainFake(t) && quantizesInput(t)).map(({ layer }) => ({ path: layer, statistic: magnitudeOf }))
      : [],
  }),
  plan: (model, o, facts): JsonObject => {
    const training = o.training ?? trainingOf(model.info)
    if (!training)
      throw new OptionError(
        'ERR_OPTION',
        `${NAME}: training goes on from that of ${model.info.name}, but its history names none; give it as the option "training"`,
        { details: { pointer: '/training' } },
      )
    checkRetrain(NAME, o.retrain, training, facts.snapshots)
    const epochs = retrainEpochs(o.retrain)
    const fits = facts.targets.filter(canTrainFake)
    const unknown = Object.keys(o.weightBits ?? {}).find((path) => !fits.some((t) => t.path === path))
    if (unknown !== undefined)
      throw new OptionError('ERR_OPTION', `${NAME}: weightBits names ${JSON.stringify(unknown)}, which is none of the weights to train`, {
        details: { pointer: '/weightBits' },
      })
    return {
      scheme: o.scheme,
      bits: o.bits,
      inputs: o.inputs,
      weights: fits.length,
      quantizedInputs: o.inputs === 'none' ? 0 : fits.filter(quantizesInput).length,
      epochs,
      ...(facts.examples === undefined ? {} : { steps: epochs * Math.ceil(facts.examples / training.batchSize) }),
    }
  },
  apply: trainFake,
})

const learnsInputs = (o: QatOptions): boolean => o.scheme === 'lsq' && o.inputs !== 'none'

async function trainFake(model: Model, context: PassContext<QatOptions>): Promise<Model> {
  const { options: o, targets, note, warn, rng, emit, checkpoint, signal, saved, figure } = context
  const fits = targets.filter((t) => {
    if (!canTrainFake(t)) note(`left alone: ${t.weight.description} is not a floating matrix`, t.path)
    return canTrainFake(t)
  })
  if (fits.length === 0) return model
  const training = o.training ?? trainingOf(model.info)!
  const task = retrainTask(context, o.distill)
  const perEpoch = stepsPerEpoch(task, model, training)
  const plan = retrainPlan(o.retrain as Exclude<Retrain, { kind: 'none' }>, training, {
    examples: perEpoch * training.batchSize,
    seed: rng('training').uint32(),
    last: undefined,
    snapshots: undefined,
  })
  const steps = retrainEpochs(o.retrain) * perEpoch
  if (o.inputs !== 'none' && o.scheme !== 'lsq' && o.delay >= steps)
    warn(`${NAME}: inputs are quantized from step ${o.delay} on, but there are ${steps} steps: nothing is trained with quantized inputs`)
  const norms = o.foldNorms ? normsBehind(model, context.data) : new Map<string, string>()
  const folded = new Set(norms.values())
  if (o.foldNorms)
    for (const path of batchNorms(model.root))
      if (!folded.has(path)) note('not folded: no layer is known whose output it takes alone', path)
  const fake = fakeModel(model, fits, (t) => planOf(t, context, norms), o.freezeNorms)
  const pack = (state: TrainState): PassState => {
    const { json, tensors } = packState(state)
    return { json: { train: json }, tensors }
  }
  try {
    const resume = saved ? unpackState(saved.json.train, saved.tensors) : undefined
    const hooks = {
      label: 'quantization-aware training',
      onEvent: emit,
      checkpoint: (state: () => TrainState, now: boolean) => checkpoint(() => pack(state()), now),
      ...(signal ? { signal } : {}),
    }
    const result = await runTraining(fake, task, plan.settings, hooks, resume ? { resume } : plan.start, {})
    const hard = owning(result.model, model, () => {
      checkpoint(() => pack(result.state), true)
      return hardenModel(result.model, model)
    })
    const inputs: Record<string, JsonObject> = {}
    for (const { path, weight } of hard.weights()) {
      if (!(weight instanceof QuantizedWeight) || !fits.some((t) => t.path === path)) continue
      if (weight.input && weight.input !== 'dynamic') inputs[path] = { scale: weight.input.scale, zero: weight.input.zero }
      else if (o.inputs !== 'none' && fits.some((t) => t.path === path && quantizesInput(t)))
        note('input stays floating: no example reached this layer', path)
    }
    if (o.inputs !== 'none') figure('inputs', inputs)
    figure('steps', result.state.step)
    return hard
  } finally {
    release(fake, [model])
  }
}

function planOf(
  target: PlacedWeight,
  { options: o, statistic, note }: PassContext<QatOptions>,
  norms: ReadonlyMap<string, string>,
): FakePlan {
  const { path, layer, weight } = target
  const fold = norms.get(path)
  const config: FakeConfig = {
    bits: o.weightBits?.[path] ?? o.bits,
    layout: o.layout,
    groups: o.layout === 'group' ? groupCount(sizeOf(weight.shape.slice(1)), o.groupSize) : 1,
    mode: o.mode,
    gradient: GRADIENT[o.scheme],
    ...(fold === undefined ? {} : { fold }),
  }
  if (o.inputs === 'none' || !quantizesInput(target)) return { weight: config }
  const input: FakeInputConfig = {
    bits: o.inputs,
    mode: INPUT[o.scheme],
    signed: true,
    decay: o.decay ?? DECAY[o.scheme],
    delay: o.delay,
    gradient: o.scheme === 'q8bert' ? 'straight' : 'clipped',
  }
  if (o.scheme !== 'lsq') return { weight: config, input: { config: input } }
  const seen = statistic(layer, magnitudeOf)
  if (!seen) {
    note('input stays floating: no calibration example reached this layer', path)
    return { weight: config }
  }
  const signed = seen.min < 0
  const most = signed ? 2 ** (o.inputs - 1) - 1 : 2 ** o.inputs - 1
  return { weight: config, input: { config: { ...input, signed }, step: seen.mean > 0 ? (2 * seen.mean) / Math.sqrt(most) : 1 } }
}
