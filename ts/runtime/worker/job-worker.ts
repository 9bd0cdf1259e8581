/** The program of a worker that does one long job: makes model and data again, trains or compresses, sends events and at last the result. */
import { parentPort, workerData } from 'node:worker_threads'
import { packError } from '../../base/sent-error.js'
import {
  compress,
  snapshotsOf,
  trainTask,
  type CompressOptions,
  type Recipe,
  type TaskOptions,
  type TrainTask,
} from '../../compress/index.js'
import { setDefaultDevice } from '../../native/device.js'
import { WorkerJob } from '../../native/worker-job.js'
import { buffersOf, type JobReply, type JobSetup, type SentCompression, type SentTraining, type Work } from './messages.js'
import { importFrom, unpack } from './parcel-data.js'
import { packModel, parcelDevice, unpackModel } from './parcel-model.js'

type Port = NonNullable<typeof parentPort>
type Say = (reply: JobReply, memory?: ArrayBuffer[]) => void

async function trainWork(job: WorkerJob, work: Extract<Work, { kind: 'train' }>, say: Say, signal: AbortSignal): Promise<SentTraining> {
  const model = unpackModel(job, work.model)
  const task = (await unpack(work.task)) as TrainTask
  const { validation: _, ...options } = (await unpack(work.options)) as TaskOptions & { validation?: unknown }
  const result = await trainTask(model, task, {
    ...options,
    signal,
    onEvent: (event) => say({ kind: 'event', event }),
    ...(work.snapshots ? { onSnapshot: (epoch, state) => say({ kind: 'snapshot', epoch, state }) } : {}),
  })
  const { average, best, skipped, stopped, state, snapshots } = result
  return {
    model: packModel(job, result.model),
    ...(average ? { average: packModel(job, average) } : {}),
    ...(best ? { best: { ...best, model: packModel(job, best.model) } } : {}),
    skipped,
    stopped,
    state,
    states: new Map(snapshots.epochs.map((epoch) => [epoch, snapshots.at(epoch)!])),
  }
}

async function compressWork(
  job: WorkerJob,
  work: Extract<Work, { kind: 'compress' }>,
  say: Say,
  signal: AbortSignal,
): Promise<SentCompression> {
  const options = (await unpack(work.options)) as CompressOptions
  const { model, report } = await compress(unpackModel(job, work.model), work.recipe as Recipe, {
    ...options,
    signal,
    onEvent: (event) => say({ kind: 'event', event }),
    ...(work.states ? { snapshots: snapshotsOf(work.states) } : {}),
  })
  return { model: packModel(job, model), report }
}

async function serve(port: Port, { job: id, modules, work }: JobSetup): Promise<void> {
  const say: Say = (reply, memory = []) => port.postMessage(reply, memory)
  const controller = new AbortController()
  port.on('message', () => controller.abort())
  try {
    const job = WorkerJob.attach(id)
    for (const module of modules) await importFrom(module)
    setDefaultDevice(parcelDevice(work.model)) // batches and constants are made where the model lies
    const result = await (work.kind === 'train'
      ? trainWork(job, work, say, controller.signal)
      : compressWork(job, work, say, controller.signal))
    say({ kind: 'done', result }, buffersOf(result))
  } catch (error) {
    say({ kind: 'failed', error: packError(error) })
  }
}

if (parentPort) void serve(parentPort, workerData as JobSetup)
