/** One seed of one table of renda.ts, in a process of its own. */
import {
  compress,
  prune,
  recipe,
  train,
  type PassSpec,
  type Retrain,
  type Snapshots,
  type TrainSettingsInput,
} from '../../ts/compress/index.js'
import { subset, type NumberDataset } from '../../ts/data/dataset.js'
import { Rng, shuffle } from '../../ts/base/rng.js'
import { loadMnist } from '../../ts/data/mnist.js'
import { lenet5 } from '../../ts/models/index.js'
import { setThreads } from '../../ts/native/devices.js'
import { evaluateClassifier } from '../../ts/compress/train/tasks/classification.js'
import { build, freshValues, Model, type ModuleSpec } from '../../ts/nn/index.js'
import { answerJob } from './lib/processes.js'

/** T and t. */
export const EPOCHS = 10
export const RETRAIN = 8

export interface RendaJob {
  readonly part: 'one-shot' | 'iterative' | 'ticket'
  readonly seed: number
  readonly quick: boolean
}

export interface Point {
  readonly table: RendaJob['part']
  readonly method: string
  readonly density: number
  /** Of 100. */
  readonly accuracy: number
}

interface Work {
  readonly job: RendaJob
  readonly data: NumberDataset
  readonly test: NumberDataset
  readonly dense: Model
  readonly snapshots: Snapshots
  readonly settings: TrainSettingsInput
}

/** Weights of He et al.: a re-initialised net that is sparse trains from them, from smaller ones it hardly does. */
function he(spec: ModuleSpec): ModuleSpec {
  const config = 'init' in spec.config ? { ...spec.config, init: 'he' } : spec.config
  const children = Object.entries(spec.children ?? {}).map(([name, child]) => [name, he(child)] as const)
  return { ...spec, config, ...(children.length > 0 ? { children: Object.fromEntries(children) } : {}) }
}

/** Untrained. */
export function lenet(seed: number): Model {
  const { spec, inputShape } = lenet5({ inputShape: [1, 28, 28], classes: 10 })
  return new Model(build(he(spec), freshValues(Rng.of(seed, 'init'))), {
    ...{ name: 'lenet5', task: 'classification', inputShape, classes: Array.from({ length: 10 }, (_, i) => String(i)) },
    ...{ normalize: { mean: 0.1307, std: 0.3081 }, history: [] },
  })
}

const round = (density: number): number => Math.round(density * 1e4) / 1e4

async function prepare(job: RendaJob): Promise<Work> {
  const mnist = await loadMnist()
  const data = subset(mnist.train, shuffle(mnist.train.size, 0).subarray(0, job.quick ? 1000 : 4000))
  const test = job.quick ? subset(mnist.test, shuffle(mnist.test.size, 0).subarray(0, 2000)) : mnist.test
  const settings: TrainSettingsInput = {
    ...{ epochs: EPOCHS, batchSize: 32, seed: job.seed },
    optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
    schedule: { kind: 'multi-step', lr: 0.03, at: [0.5, 0.75], factor: 0.1, warmup: 0.02 },
  }
  const { model, snapshots } = await train(lenet(job.seed), data, { ...settings, snapshotEpochs: [0, EPOCHS - RETRAIN, EPOCHS] })
  return { job, data, test, dense: model, snapshots, settings }
}

const accuracy = async (w: Work, model: Model): Promise<number> => 100 * (await evaluateClassifier(model, w.test, async () => {})).accuracy

function pruned(w: Work, model: Model, pass: PassSpec): ReturnType<typeof compress> {
  return compress(model, recipe([[pass]], { seed: w.job.seed }), { data: w.data, snapshots: w.snapshots })
}

const ways: readonly (readonly [method: string, retrain: Retrain])[] = [
  ['learning-rate rewinding', train.rewindLearningRate({ epochs: RETRAIN })],
  ['weight rewinding', train.rewindWeights({ epochs: RETRAIN })],
  ['fine-tuning', train.finetune({ epochs: RETRAIN })],
  ['low rate', train.lowLearningRate({ epochs: RETRAIN })],
  ['re-initialisation', train.reinitialize({ epochs: RETRAIN })],
]

async function oneShot(w: Work): Promise<Point[]> {
  const points: Point[] = [{ table: 'one-shot', method: 'dense', density: 1, accuracy: await accuracy(w, w.dense) }]
  for (const rounds of w.job.quick ? [8, 10] : [6, 8, 10, 15])
    for (const [method, retrain] of ways) {
      const { model } = await pruned(w, w.dense, prune.magnitude({ sparsity: 1 - 0.8 ** rounds, scope: 'global', retrain }))
      points.push({ table: 'one-shot', method, density: round(0.8 ** rounds), accuracy: await accuracy(w, model) })
      model.dispose()
    }
  return points
}

/** 20 % of the survivors a round, in passes that end where accuracy is measured: after rounds 6, 8 and 10. */
async function rounds(w: Work, table: RendaJob['part'], method: string, retrain: Retrain): Promise<{ points: Point[]; model: Model }> {
  const points: Point[] = []
  let model = w.dense
  let done = 0
  for (const end of w.job.quick ? [1, 2] : [6, 8, 10]) {
    const fraction = w.job.quick ? 1 - 0.8 ** 5 : 0.2
    const next = await pruned(w, model, prune.magnitude({ iterative: { fraction, rounds: end - done }, scope: 'global', retrain }))
    if (model !== w.dense) model.dispose()
    model = next.model
    done = end
    points.push({ table, method, density: round((1 - fraction) ** end), accuracy: await accuracy(w, model) })
  }
  return { points, model }
}

async function iterative(w: Work): Promise<Point[]> {
  const out: Point[] = []
  for (const [method, retrain] of ways.slice(0, 3)) {
    const { points, model } = await rounds(w, 'iterative', method, retrain)
    out.push(...points)
    model.dispose()
  }
  return out
}

/** The ticket's mask, trained from its own first weights, from other ones, and a mask of as many weights at random places of each layer. */
async function ticket(w: Work): Promise<Point[]> {
  const { points, model } = await rounds(w, 'ticket', 'ticket', train.rewindWeights({ epochs: EPOCHS }))
  const density = 0.8 ** 10
  const other = async (method: string, from: Model, pass: PassSpec): Promise<void> => {
    const { model: made } = await pruned(w, from, pass)
    points.push({ table: 'ticket', method, density: round(density), accuracy: await accuracy(w, made) })
    made.dispose()
  }
  const same = { sparsity: 1 - density, scope: 'global' as const }
  await other('random re-initialisation', model, prune.magnitude({ ...same, retrain: train.reinitialize({ epochs: EPOCHS }) }))
  await other('random mask', w.dense, prune.random({ ...same, like: 'magnitude', retrain: train.rewindWeights({ epochs: EPOCHS }) }))
  return points
}

await answerJob<RendaJob, Point[]>(import.meta.url, async (job) => {
  setThreads(1)
  const work = await prepare(job)
  return { 'one-shot': oneShot, iterative, ticket }[job.part](work)
})
