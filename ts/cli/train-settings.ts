/** Settings of a training as options of the command line. What an option leaves out the task's defaults say (train/). */
import type { Command } from 'commander'
import { OptionError } from '../base/errors.js'
import type { TrainSettingsInput } from '../compress/train/settings.js'
import type { AugmentInput } from '../data/augment-settings.js'
import type { OptimizerInput, Schedule } from '../optim/index.js'
import { augmentNames, augmentOption } from './augment-option.js'
import { integer, list, real } from './options.js'

export interface SettingOptions {
  readonly epochs?: number
  readonly batch?: number
  readonly lr?: number
  readonly schedule: (typeof SCHEDULES)[number]
  readonly warmup?: number
  readonly optimizer?: (typeof OPTIMIZERS)[number]
  readonly momentum: number
  readonly nesterov?: boolean
  readonly vectorDecay?: boolean
  readonly clipNorm?: number
  readonly clipValue?: number
  readonly labelSmoothing?: number
  readonly ema?: number
  readonly sam?: number
  readonly asam?: number
  readonly precision?: (typeof PRECISIONS)[number]
  readonly accumulate?: number
  readonly weightDecay: number
  readonly metric?: string
  readonly augment?: AugmentInput
  readonly workers?: number
  readonly prefetch?: number
  readonly patience?: number
  readonly minDelta?: number
  readonly keepBest?: boolean
  readonly seed: number
  readonly snapshots?: readonly number[]
}

/** What a task trains with when nobody says otherwise. */
export interface SettingDefaults {
  readonly epochs: number
  readonly batch: number
  readonly lr: number
  readonly optimizer: (typeof OPTIMIZERS)[number]
  readonly clipNorm?: number
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

function schedule(o: SettingOptions, lr: number): Schedule {
  // One-cycle has a rise of its own.
  const { warmup = o.schedule === 'one-cycle' ? 0 : WARMUP } = o
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

function optimizer(o: SettingOptions, kind: (typeof OPTIMIZERS)[number]): OptimizerInput {
  const { momentum, weightDecay } = o
  if (o.nesterov && kind !== 'sgd') throw new OptionError('ERR_OPTION', `train: --nesterov is for sgd, not ${kind}`)
  if (kind === 'sgd') return { kind, momentum, weightDecay, ...(o.nesterov ? { nesterov: true } : {}) }
  // --momentum has a default that is meant for sgd.
  return { kind, weightDecay }
}

/** ERR_OPTION for words that no list has and options that exclude each other. */
export function checkSettings(o: SettingOptions): void {
  for (const [name, value, allowed] of [
    ['--schedule', o.schedule, SCHEDULES],
    ['--optimizer', o.optimizer ?? 'sgd', OPTIMIZERS],
    ['--precision', o.precision ?? 'f32', PRECISIONS],
  ] as const)
    if (!(allowed as readonly string[]).includes(value))
      throw new OptionError('ERR_OPTION', `train: ${name} must be one of ${allowed.join(', ')}, got ${JSON.stringify(value)}`)
  if (o.sam !== undefined && o.asam !== undefined) throw new OptionError('ERR_OPTION', 'train: --sam and --asam exclude each other')
  if (o.minDelta !== undefined && o.patience === undefined) throw new OptionError('ERR_OPTION', 'train: --min-delta needs --patience')
}

export function trainSettingsOf(o: SettingOptions, defaults: SettingDefaults): TrainSettingsInput {
  const { epochs = defaults.epochs, batch = defaults.batch, lr = defaults.lr, clipNorm = defaults.clipNorm } = o
  const late = o.snapshots?.find((epoch) => epoch > epochs)
  if (late !== undefined) throw new OptionError('ERR_OPTION', `train: --snapshots must be in [0, ${epochs}], got ${late}`)
  const given = {
    labelSmoothing: o.labelSmoothing,
    clipNorm,
    clipValue: o.clipValue,
    accumulate: o.accumulate,
    ema: o.ema === undefined ? undefined : { decay: o.ema },
    sam: o.sam !== undefined ? { rho: o.sam } : o.asam === undefined ? undefined : { rho: o.asam, adaptive: true },
    precision: o.precision === 'f32' ? undefined : o.precision,
    groups: o.vectorDecay === false ? [{ role: 'vector' as const, weightDecay: 0 }] : undefined,
    metric: o.metric === undefined ? undefined : { name: o.metric },
    augment: o.augment,
    workers: o.workers,
    prefetch: o.prefetch,
    earlyStop:
      o.patience === undefined ? undefined : { patience: o.patience, ...(o.minDelta === undefined ? {} : { minDelta: o.minDelta }) },
    keepBest: o.keepBest,
  }
  return {
    epochs,
    batchSize: batch,
    optimizer: optimizer(o, o.optimizer ?? defaults.optimizer),
    schedule: schedule(o, lr),
    seed: o.seed,
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<TrainSettingsInput>),
  }
}

/** `defaults` tells the defaults of each option for all tasks: "0.05; lstm: 0.003". */
export function addSettings(command: Command, defaults: (name: keyof SettingDefaults) => string): Command {
  return command
    .option('--epochs <n>', `passes over the data (default ${defaults('epochs')})`, integer(1, 1e6))
    .option('--batch <n>', `examples per step, for text columns (default ${defaults('batch')})`, integer(1, 65536))
    .option('--lr <x>', `peak learning rate (default ${defaults('lr')})`, real(0, 1e3))
    .option('--schedule <kind>', `learning rate over time: ${SCHEDULES.join(', ')}`, 'cosine')
    .option('--warmup <share>', 'share of the steps in which the rate rises (default 0.05; one-cycle: 0)', real(0, 1))
    .option('--optimizer <kind>', `${OPTIMIZERS.join(', ')} (default ${defaults('optimizer')})`)
    .option('--momentum <x>', 'of sgd', real(0, 0.9999), 0.9)
    .option('--nesterov', 'Nesterov momentum, with sgd')
    .option('--weight-decay <x>', 'weight decay', real(0, 10), 0)
    .option('--no-vector-decay', 'no weight decay on biases and norms')
    .option('--label-smoothing <share>', 'share of the target spread over all classes', real(0, 0.999))
    .option('--clip-norm <x>', `largest norm over all gradients (default ${defaults('clipNorm')})`, real(1e-12, 1e12))
    .option('--clip-value <x>', 'largest magnitude of a gradient element', real(1e-12, 1e12))
    .option('--ema <decay>', 'average the weights over the steps and save the average', real(0, 0.999999))
    .option('--sam <rho>', 'sharpness-aware minimization, e.g. 0.05', real(1e-6, 100))
    .option('--asam <rho>', 'its adaptive form, e.g. 0.5', real(1e-6, 100))
    .option('--precision <kind>', 'of matrix products: f32, bf16, f16 (with loss scaling)', 'f32')
    .option('--accumulate <n>', 'parts in which a batch is computed, for less memory', integer(1, 65536))
    .option('--augment <list>', `change the images: ${augmentNames}; each may have =value`, augmentOption)
    .option('--workers <n>', 'threads that make batches of numbers ahead (default 1 with --augment, else 0)', integer(0, 16))
    .option('--prefetch <n>', 'batches that they make ahead (default 2 + workers)', integer(0, 1024))
    .option(
      '--metric <name>',
      'figure of validation that decides: accuracy, macroF1, matthews; regression: mse, mae, r2, pearson, spearman; language: perplexity, accuracy; translation: those and bleu, cer or wer (default the first)',
    )
    .option('--patience <n>', 'end after so many evaluations in a row without a better one', integer(1, 1e6))
    .option('--min-delta <x>', 'with --patience: by how much better counts as better (default 0)', real(0, 1e12))
    .option('--keep-best', 'save the model of the best evaluation, not the last one')
    .option('--seed <n>', 'fixes initial values, order and dropout', integer(0), 0)
    .option('--snapshots <epochs>', 'keep states after these epochs for rewinding, e.g. 0,1', list(integer(0)))
}
