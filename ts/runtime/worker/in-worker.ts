/**
 * Training and compression in a thread of their own: the same code, the same bits, and an event loop that stays free (a step of a large net takes longer
 * than any server may wait). The calling thread describes the work, gets the events, and takes the result.
 */
import { OptionError } from '../../base/errors.js'
import {
  classification,
  snapshotsOf,
  type CompressOptions,
  type CompressReport,
  type CompressResult,
  type Recipe,
  type TaskOptions,
  type TrainEvent,
  type TrainOptions,
  type TrainResult,
  type TrainTask,
} from '../../compress/index.js'
import type { JsonObject } from '../../base/json-types.js'
import type { Dataset } from '../../data/index.js'
import type { Model } from '../../nn/index.js'
import type { SentCompression, SentTraining } from './messages.js'
import { Packer } from './parcel-data.js'
import { packModel, unpackModel } from './parcel-model.js'
import { runJob } from './run-job.js'

export interface WorkerOptions {
  /** Modules (absolute paths or file URLs) that the worker imports first: those that define passes, module kinds or weight kinds of your own. */
  readonly modules?: readonly string[]
}

/**
 * `train` in a worker thread: the calling thread stays free for others, whatever a step costs. `trainTaskInWorker` with the task `classification`.
 *
 * @example
 * const { model } = await trainInWorker(untrained, data, { epochs: 5, validation, onEvent, signal })
 */
export async function trainInWorker(
  model: Model,
  data: Dataset,
  { validation, ...options }: TrainOptions & WorkerOptions,
): Promise<TrainResult> {
  return trainTaskInWorker(model, classification(data, { validation }), options)
}

/**
 * `trainTask` in a worker thread. Same model, task and settings: same bits. Arrays of numbers are copied once into memory that both threads see; the model's
 * tensors are lent, not copied, and until the end nobody may write to them (ERR_BUSY). The models that come back share nothing with the one given.
 * `onEvent` and `onSnapshot` are called on the calling thread; what they throw ends the training. An abort ends the native call under way.
 *
 * - the hook `checkpoint` (use `checkpointDir`), a task or data made of functions that do not say how another thread makes them (`portable`): ERR_OPTION
 * - a worker that cannot be started: ERR_UNSUPPORTED; everything that `trainTask` throws, with code, details and causes
 *
 * @example
 * const { model } = await trainTaskInWorker(untrained, language(tokens, { validation }), { epochs: 6, batchSize: 20, onEvent, signal })
 */
export async function trainTaskInWorker<B>(model: Model, task: TrainTask<B>, options: TaskOptions & WorkerOptions): Promise<TrainResult> {
  const { onEvent, signal, onSnapshot, checkpoint, modules = [], ...plain } = options
  if (checkpoint)
    throw new OptionError(
      'ERR_OPTION',
      'train: checkpoint is a function called after each step and cannot go to a worker: use checkpointDir',
      {
        details: { pointer: '/checkpoint' },
      },
    )
  if (!task.portable)
    throw new OptionError('ERR_OPTION', `train: task ${task.kind} does not say how a worker makes it (portable)`, {
      details: { pointer: '/portable' },
    })
  const { resume, ...rest } = plain
  return runJob(
    {
      where: 'train',
      modules,
      signal,
      onReply: (reply) => {
        if (reply.kind === 'snapshot') onSnapshot?.(reply.epoch, reply.state)
        else onEvent?.(reply.event as TrainEvent)
      },
    },
    async (job) => {
      const packer = new Packer()
      const sent = { task: packer.pack({ portable: task.portable }, 'task'), options: packer.pack(rest, 'options') as object }
      await packer.fill()
      // A state to go on from is plain data already.
      const options = resume === undefined ? sent.options : { ...sent.options, resume }
      return { kind: 'train', model: packModel(job, model), task: sent.task, options, snapshots: onSnapshot !== undefined }
    },
    (job, result): TrainResult => {
      const { model: trained, average, best, states, state, skipped, stopped } = result as SentTraining
      return {
        model: unpackModel(job, trained),
        ...(average ? { average: unpackModel(job, average) } : {}),
        ...(best ? { best: { ...best, model: unpackModel(job, best.model) } } : {}),
        skipped,
        stopped,
        state,
        epochs: state.epochs,
        snapshots: snapshotsOf(states),
      }
    },
  )
}

/**
 * `compress` in a worker thread, as `trainTaskInWorker` trains. `snapshots` are read before it begins; passes of your own come with `modules`. Teachers and
 * tasks stay here: ERR_OPTION (a pass with `distill` learns from the model itself then).
 *
 * @example
 * const { model: small, report } = await compressInWorker(model, presets['int8-static'].recipe, { data, onEvent, signal })
 */
export async function compressInWorker(
  model: Model,
  recipe: Recipe | JsonObject | string,
  options: CompressOptions & WorkerOptions = {},
): Promise<CompressResult> {
  const { onEvent, signal, snapshots, modules = [], ...plain } = options
  for (const name of ['teacher', 'task'] as const)
    if (plain[name])
      throw new OptionError('ERR_OPTION', `compress: ${name} cannot go to a worker: use compress`, { details: { pointer: `/${name}` } })
  return runJob(
    {
      where: 'compress',
      modules,
      signal,
      onReply: (reply) => {
        if (reply.kind === 'event') onEvent?.(reply.event)
      },
    },
    async (job) => {
      const packer = new Packer()
      const sent = { recipe: packer.pack(recipe, 'recipe'), options: packer.pack(plain, 'options') }
      await packer.fill()
      const states = snapshots && new Map(snapshots.epochs.map((epoch) => [epoch, snapshots.at(epoch)!]))
      return { kind: 'compress', model: packModel(job, model), ...sent, states }
    },
    (job, result): CompressResult => {
      const { model: small, report } = result as SentCompression
      return { model: unpackModel(job, small), report: report as CompressReport }
    },
  )
}
