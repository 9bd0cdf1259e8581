/** `tersor train`: trains one of the built-in architectures on a data set and saves it. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { Rng } from '../../base/rng.js'
import { OptionError } from '../../base/errors.js'
import type { TrainSettingsInput } from '../../compress/train/settings.js'
import { train } from '../../compress/train/train.js'
import { loadData, type Dataset, type NumberDataset } from '../../data/index.js'
import { architectures, batchInputs, type ArchitectureName } from '../../models/index.js'
import { saveModel } from '../../models/file.js'
import { build, freshValues, Model } from '../../nn/index.js'
import type { OptimizerInput, Schedule } from '../../optim/index.js'
import { formatBytes, formatCount, formatPercent } from '../../report/format.js'
import { scope } from '../../tensor/index.js'
import { eventView } from '../events.js'
import { integer, list, outFile, real } from '../options.js'
import { loadTrainState, removeCheckpoint, removeSnapshots, saveTrainState, snapshotFile, trainPaths } from '../train-files.js'
import { RESUME, runCommand } from '../ui.js'

export interface TrainCliOptions {
  readonly data: string
  readonly validation?: string
  readonly out: string
  readonly epochs: number
  readonly batch: number
  readonly lr: number
  readonly schedule: (typeof SCHEDULES)[number]
  readonly warmup?: number
  readonly optimizer: (typeof OPTIMIZERS)[number]
  readonly momentum: number
  readonly nesterov?: boolean
  readonly vectorDecay?: boolean
  readonly clipNorm?: number
  readonly clipValue?: number
  readonly ema?: number
  readonly sam?: number
  readonly asam?: number
  readonly precision?: (typeof PRECISIONS)[number]
  readonly accumulate?: number
  readonly weightDecay: number
  readonly seed: number
  readonly snapshots?: readonly number[]
  readonly resume?: boolean
  readonly json?: boolean
}

const OPTIMIZERS = ['sgd', 'adam', 'adamw', 'lamb', 'rmsprop'] as const
const SCHEDULES = [
  'constant',
  'cosine',
  'linear',
  'step',
  'multi-step',
  'polynomial',
  'exponential',
  'cosine-restarts',
  'one-cycle',
  'inverse-sqrt',
] as const
const PRECISIONS = ['f32', 'bf16', 'f16'] as const

// Share of the training over which the rate rises: full rates on fresh weights can end in dead units.
const WARMUP = 0.05

function schedule(o: TrainCliOptions): Schedule {
  // One-cycle has a rise of its own.
  const { lr, warmup = o.schedule === 'one-cycle' ? 0 : WARMUP } = o
  switch (o.schedule) {
    case 'step':
      return { kind: 'step', lr, every: 1 / 3, factor: 0.1, warmup }
    case 'multi-step':
      return { kind: 'multi-step', lr, at: [0.5, 0.75], factor: 0.1, warmup }
    case 'exponential':
      return { kind: 'exponential', lr, factor: 0.01, warmup }
    case 'cosine-restarts':
      return { kind: 'cosine-restarts', lr, first: 1 / 7, grow: 2, warmup }
    case 'constant':
    case 'cosine':
    case 'linear':
    case 'polynomial':
    case 'one-cycle':
    case 'inverse-sqrt':
      return { kind: o.schedule, lr, warmup }
  }
}

function optimizer(o: TrainCliOptions): OptimizerInput {
  const { optimizer: kind, momentum, weightDecay } = o
  if (o.nesterov && kind !== 'sgd') throw new OptionError('ERR_OPTION', `train: --nesterov is for sgd, not ${kind}`)
  if (kind === 'sgd') return { kind, momentum, weightDecay, ...(o.nesterov ? { nesterov: true } : {}) }
  // --momentum has a default that is meant for sgd.
  return { kind, weightDecay }
}

export function trainSettingsOf(o: TrainCliOptions): TrainSettingsInput {
  return {
    epochs: o.epochs,
    batchSize: o.batch,
    optimizer: optimizer(o),
    schedule: schedule(o),
    seed: o.seed,
    ...(o.vectorDecay === false ? { groups: [{ role: 'vector' as const, weightDecay: 0 }] } : {}),
    ...(o.clipNorm === undefined ? {} : { clipNorm: o.clipNorm }),
    ...(o.clipValue === undefined ? {} : { clipValue: o.clipValue }),
    ...(o.ema === undefined ? {} : { ema: { decay: o.ema } }),
    ...(o.sam === undefined ? {} : { sam: { rho: o.sam } }),
    ...(o.asam === undefined ? {} : { sam: { rho: o.asam, adaptive: true } }),
    ...(o.precision === undefined || o.precision === 'f32' ? {} : { precision: o.precision }),
    ...(o.accumulate === undefined ? {} : { accumulate: o.accumulate }),
  }
}

/** Mean and standard deviation over all numbers of a data set, for the model's input scaling. */
export function normalization(data: NumberDataset): { mean: number; std: number } {
  let n = 0
  let sum = 0
  let squares = 0
  for (let i = 0; i < data.size; i += 1024) {
    const { x } = data.batch(Array.from({ length: Math.min(1024, data.size - i) }, (_, j) => i + j))
    for (const v of x) {
      sum += v
      squares += v * v
    }
    n += x.length
  }
  const mean = n ? sum / n : 0
  const std = n ? Math.sqrt(Math.max(0, squares / n - mean * mean)) : 1
  return { mean, std: std > 0 ? std : 1 }
}

/** An untrained model that fits the data. */
export function newModel(architecture: string, data: Dataset, seed: number): Model {
  if (!Object.hasOwn(architectures, architecture))
    throw new OptionError(
      'ERR_OPTION',
      `train: unknown architecture ${JSON.stringify(architecture)}; known: ${Object.keys(architectures).join(', ')}`,
    )
  if (data.input !== 'numbers') throw new OptionError('ERR_OPTION', `train: ${architecture} takes numbers, ${data.name} holds text`)
  const made = architectures[architecture as ArchitectureName]({ inputShape: data.inputShape, classes: data.classes.length })
  return new Model(build(made.spec, freshValues(Rng.of(seed, 'init'))), {
    name: architecture,
    task: 'classification',
    classes: data.classes,
    inputShape: made.inputShape,
    normalize: normalization(data),
    history: [],
  })
}

export function registerTrain(program: Command): void {
  program
    .command('train')
    .description('train a network and save it')
    .argument('<arch>', `architecture: ${Object.keys(architectures).join(', ')}`)
    .requiredOption('--data <spec>', 'training data: idx:DIR, npz:FILE, csv:FILE or tsv:FILE')
    .option('--validation <spec>', 'held-out data, evaluated after each epoch')
    .requiredOption('--out <file>', 'model file to write', outFile)
    .option('--epochs <n>', 'passes over the data', integer(1, 1e6), 3)
    .option('--batch <n>', 'examples per step', integer(1, 65536), 64)
    .option('--lr <x>', 'peak learning rate', real(0, 1e3), 0.05)
    .option('--schedule <kind>', `learning rate over time: ${SCHEDULES.join(', ')}`, 'cosine')
    .option('--warmup <share>', 'share of the steps in which the rate rises (default 0.05; one-cycle: 0)', real(0, 1))
    .option('--optimizer <kind>', OPTIMIZERS.join(', '), 'sgd')
    .option('--momentum <x>', 'of sgd', real(0, 0.9999), 0.9)
    .option('--nesterov', 'Nesterov momentum, with sgd')
    .option('--weight-decay <x>', 'weight decay', real(0, 10), 0)
    .option('--no-vector-decay', 'no weight decay on biases and norms')
    .option('--clip-norm <x>', 'largest norm over all gradients', real(1e-12, 1e12))
    .option('--clip-value <x>', 'largest magnitude of a gradient element', real(1e-12, 1e12))
    .option('--ema <decay>', 'average the weights over the steps and save the average', real(0, 0.999999))
    .option('--sam <rho>', 'sharpness-aware minimization, e.g. 0.05', real(1e-6, 100))
    .option('--asam <rho>', 'its adaptive form, e.g. 0.5', real(1e-6, 100))
    .option('--precision <kind>', 'of matrix products: f32, bf16, f16 (with loss scaling)', 'f32')
    .option('--accumulate <n>', 'parts in which a batch is computed, for less memory', integer(1, 65536))
    .option('--seed <n>', 'fixes initial values, order and dropout', integer(0), 0)
    .option('--snapshots <epochs>', 'keep states after these epochs for rewinding, e.g. 0,1', list(integer(0)))
    .option('--resume', 'go on from the checkpoint of an interrupted run')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor train lenet5 --data idx:mnist --validation idx:mnist,split=test --out lenet5.safetensors --epochs 3\n' +
        '  $ tersor train mlp --data csv:iris.csv,label=species --out iris.safetensors --optimizer adamw --lr 0.003\n' +
        '  $ tersor train convnet --data idx:mnist --out net.safetensors --snapshots 1,2 --resume',
    )
    .action((architecture: string, o: TrainCliOptions) =>
      runCommand(
        o.json ?? false,
        async (ui) => {
          for (const [name, value, allowed] of [
            ['--schedule', o.schedule, SCHEDULES],
            ['--optimizer', o.optimizer, OPTIMIZERS],
            ['--precision', o.precision ?? 'f32', PRECISIONS],
          ] as const)
            if (!(allowed as readonly string[]).includes(value))
              throw new OptionError('ERR_OPTION', `train: ${name} must be one of ${allowed.join(', ')}, got ${JSON.stringify(value)}`)
          if (o.sam !== undefined && o.asam !== undefined) throw new OptionError('ERR_OPTION', 'train: --sam and --asam exclude each other')
          const late = o.snapshots?.find((epoch) => epoch > o.epochs)
          if (late !== undefined) throw new OptionError('ERR_OPTION', `train: --snapshots must be in [0, ${o.epochs}], got ${late}`)
          const data = await loadData(o.data, { signal: ui.signal })
          const validation =
            o.validation === undefined ? undefined : await loadData(o.validation, { signal: ui.signal, classes: data.classes })
          const model = newModel(architecture, data, o.seed)
          // What does not fit is found now and not after the first epoch.
          if (validation) scope(() => void batchInputs(model, validation, [0]))
          ui.say(
            `${architecture}: ${formatCount(model.parameters())} parameters; ${formatCount(data.size)} examples, ${data.classes.length} classes`,
          )
          const { checkpoint } = trainPaths(o.out)
          const state = o.resume && existsSync(checkpoint) ? loadTrainState(checkpoint) : undefined
          if (state) ui.say(`resuming at step ${state.step}`)
          else {
            if (o.resume) ui.say('nothing to resume: starting from the beginning')
            removeSnapshots(o.out)
          }
          const view = eventView(ui)
          let saved = Date.now()
          const result = await train(model, data, {
            ...trainSettingsOf(o),
            ...(validation ? { validation } : {}),
            ...(state ? { resume: state } : {}),
            snapshotEpochs: o.snapshots ?? [],
            onSnapshot: (epoch, s) => saveTrainState(snapshotFile(o.out, epoch), s),
            onEvent: view.onEvent,
            signal: ui.signal,
            checkpoint: (take, now) => {
              if (!now && Date.now() - saved < 20_000) return
              saveTrainState(checkpoint, take())
              saved = Date.now()
            },
          }).finally(view.end)
          const bytes = saveModel(result.average ?? result.model, o.out)
          if (result.skipped) ui.say(`${formatCount(result.skipped)} steps left out: f16 overflow`)
          removeCheckpoint(o.out)
          const last = result.epochs[result.epochs.length - 1]
          ui.say(
            `saved ${o.out}: ${formatBytes(bytes)}${last?.accuracy === undefined ? '' : `, accuracy ${formatPercent(last.accuracy, 2)} (n = ${validation!.size})`}`,
          )
          ui.result({ file: o.out, bytes, parameters: model.parameters(), settings: result.state.settings, epochs: result.epochs })
        },
        RESUME,
      ),
    )
}
