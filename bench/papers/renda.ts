/**
 * Renda, Frankle, Carbin (ICLR 2020): what to do with a net after pruning it. Weight rewinding, learning-rate rewinding, fine-tuning and re-initialisation beside each other,
 * one-shot and iterative; and lottery tickets (Frankle, Carbin, ICLR 2019) beside their controls. Seeds are trained in processes of their own, one per processor.
 */
import { availableParallelism } from 'node:os'
import { compress, prune, recipe, roundsFor, train } from '../../ts/compress/index.js'
import { subset } from '../../ts/data/dataset.js'
import { loadMnist } from '../../ts/data/mnist.js'
import { definePaper, mean, type PaperRun } from './lib/paper.js'
import { inProcesses } from './lib/processes.js'
import { EPOCHS, lenet, RETRAIN, type Point, type RendaJob } from './renda-job.js'

/** ResNet-20 on CIFAR-10, median of 3, best over retraining times (the authors' published plot data). */
const paper: Readonly<Record<string, readonly (readonly [density: number, accuracy: number])[]>> = {
  'one-shot/learning-rate rewinding': [
    [0.2621, 91.67],
    [0.1678, 90.75],
    [0.1074, 89.49],
  ],
  'one-shot/weight rewinding': [
    [0.2621, 91.49],
    [0.1678, 90.74],
    [0.1074, 89.26],
  ],
  'one-shot/fine-tuning': [
    [0.2621, 91.04],
    [0.1678, 90.28],
    [0.1074, 88.65],
  ],
  'one-shot/low rate': [
    [0.2621, 90.8],
    [0.1678, 89.99],
    [0.1074, 88.12],
  ],
  'one-shot/re-initialisation': [
    [0.2621, 89.48],
    [0.1678, 88.5],
    [0.1074, 87.42],
  ],
  'iterative/learning-rate rewinding': [
    [0.2621, 92.21],
    [0.1678, 91.79],
    [0.1074, 91.23],
  ],
  'iterative/weight rewinding': [
    [0.2621, 91.87],
    [0.1678, 91.63],
    [0.1074, 91.0],
  ],
  'iterative/fine-tuning': [
    [0.2621, 91.0],
    [0.1678, 90.56],
    [0.1074, 89.78],
  ],
}

const TABLES = {
  'one-shot': 'One-shot, retrained once',
  iterative: '20 % of the survivors a round, retrained every round',
  ticket: 'Lottery tickets: iterative, reset to the first weights',
} as const

const placed = (points: readonly Point[], table: string, method: string, density: number): number[] =>
  points.filter((p) => p.table === table && p.method === method && Math.abs(p.density - density) < 1e-3).map((p) => p.accuracy)

const percent = (x: number): string => x.toFixed(2)

function rowsOf({ row }: PaperRun, points: readonly Point[], n: number): void {
  const keys = [...new Set(points.map((p) => JSON.stringify([p.table, p.method, p.density])))]
  for (const key of keys) {
    const [table, method, density] = JSON.parse(key) as [keyof typeof TABLES, string, number]
    const known = paper[`${table}/${method}`]?.find(([d]) => Math.abs(d - density) < 1e-3)?.[1]
    row({
      ...{ table: TABLES[table], method, at: { name: 'density', value: density }, metric: 'accuracy', unit: '%', n },
      values: placed(points, table, method, density),
      ...(known === undefined ? {} : { paper: known }),
    })
  }
}

/** Each at least the next, pair by pair, by the means over the seeds. */
function ordered(run: PaperRun, points: readonly Point[], table: 'one-shot' | 'iterative', methods: readonly string[]): void {
  for (const density of [0.1678, 0.1074]) {
    const means = methods.map((m) => mean(placed(points, table, m, density)))
    if (!means.every(Number.isFinite)) continue // --quick
    for (let i = 1; i < methods.length; i++)
      run.claim({
        text: `${table}, density ${density}: ${methods[i - 1]} >= ${methods[i]}`,
        holds: means[i - 1]! >= means[i]!,
        detail: `${percent(means[i - 1]!)} / ${percent(means[i]!)}`,
      })
  }
}

function claims(run: PaperRun, points: readonly Point[]): void {
  const all = ['learning-rate rewinding', 'weight rewinding', 'fine-tuning', 're-initialisation']
  ordered(run, points, 'one-shot', all)
  ordered(run, points, 'iterative', all.slice(0, 3))
  const at = (table: string, method: string, density: number): number => mean(placed(points, table, method, density))
  const gap = (density: number): number => at('one-shot', all[0]!, density) - at('one-shot', all[3]!, density)
  const gaps = [0.2621, 0.1074, 0.0352].map(gap)
  if (gaps.every(Number.isFinite))
    run.claim({
      text: 'the lead of learning-rate rewinding over re-initialisation grows with sparsity',
      holds: gaps.every((g, i) => i === 0 || g >= gaps[i - 1]!),
      detail: `${gaps.map(percent).join(', ')} points at density .262, .107, .035`,
    })
  for (const control of ['random re-initialisation', 'random mask']) {
    const [ours, theirs] = [at('ticket', 'ticket', 0.1074), at('ticket', control, 0.1074)]
    run.claim({
      text: `a ticket of density .107 is better than its ${control}`,
      holds: ours >= theirs,
      detail: `${percent(ours)} / ${percent(theirs)}`,
    })
  }
}

/** What the planner says before anything runs: k = ceil(ln C / ln 1.25) rounds, T (1 + k) epochs. */
async function accounting(run: PaperRun): Promise<void> {
  const { train: data } = await loadMnist()
  let plan: Record<string, unknown> = {}
  const stop = new AbortController()
  const spec = prune.magnitude({
    iterative: { rounds: roundsFor(5.96) },
    retrain: train.rewindLearningRate({ epochs: 182 }),
    training: { epochs: 182 },
  })
  await compress(lenet(1), recipe([[spec]]), {
    ...{ data: subset(data, [0]), signal: stop.signal },
    onEvent: (e) => {
      if (e.type !== 'plan') return
      plan = e.plan as Record<string, unknown>
      stop.abort()
    },
  }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error
  })
  run.claim({
    text: 'accounting: 5.96x by 20 % a round is k = 8 rounds and T (1 + k) = 9 T epochs',
    holds: plan.rounds === 8 && plan.epochsInAll === 9 * 182,
    detail: `${String(plan.rounds)} rounds, ${String(plan.epochsInAll)} epochs for T = 182`,
  })
}

export default definePaper({
  name: 'renda',
  title: 'Rewinding and fine-tuning',
  source:
    'Renda, Frankle, Carbin, "Comparing rewinding and fine-tuning in neural network pruning", ICLR 2020, figures 1 and 2; Frankle, Carbin, ICLR 2019',
  setup: `LeNet-5 (61,706 parameters) on 4,000 images of MNIST, ${EPOCHS} epochs of SGD with momentum, rate x 0.1 at 1/2 and 3/4; global magnitude pruning; retrained for t = ${RETRAIN} epochs (the paper: ResNet-20 on CIFAR-10, 182 epochs, best t); accuracy on the 10,000 test images`,
  run: async (run) => {
    const parts = ['iterative', 'ticket', 'one-shot'] as const
    const jobs: RendaJob[] = parts.flatMap((part) => run.seeds.map((seed) => ({ part, seed, quick: run.quick })))
    await loadMnist() // before several processes ask for it
    const found = await inProcesses<RendaJob, Point[]>(new URL('renda-job.ts', import.meta.url), jobs, availableParallelism(), {
      signal: run.signal,
      done: (job, seconds) => run.say(`${job.part}, seed ${job.seed}: ${seconds.toFixed(0)} s`),
    })
    const points = found.flat()
    rowsOf(run, points, run.quick ? 2000 : 10_000)
    claims(run, points)
    await accounting(run)
  },
})
