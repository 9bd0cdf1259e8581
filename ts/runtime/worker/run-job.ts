/**
 * One job in a worker thread of its own, from its start to its end. Whatever happens, the worker is gone and nothing is lent any more when the promise
 * settles. An abort ends the native call under way at once (interruptible of ts/native/worker-job.ts), not only at the next step.
 */
import { Worker } from 'node:worker_threads'
import { abortError } from '../../base/pace.js'
import { InternalError, isTersorError, MemoryBudgetError, UnsupportedError } from '../../base/errors.js'
import { unpackSentError } from '../../base/sent-error.js'
import { WorkerJob } from '../../native/worker-job.js'
import type { JobReply, JobSetup, Work } from './messages.js'
import { workerFile } from './worker-file.cjs'

export interface JobHooks {
  /** "train", "compress": for errors. */
  readonly where: string
  readonly modules: readonly string[]
  readonly signal: AbortSignal | undefined
  /** What it throws ends the job with that error. */
  readonly onReply: (reply: Extract<JobReply, { kind: 'event' | 'snapshot' }>) => void
}

/** `make` describes the work, `receive` takes its result while what was lent is still there. */
export async function runJob<T>(
  hooks: JobHooks,
  make: (job: WorkerJob) => Promise<Work>,
  receive: (job: WorkerJob, result: unknown) => T,
): Promise<T> {
  const { where, signal, modules } = hooks
  if (signal?.aborted) throw abortError(where, signal)
  const job = WorkerJob.open()
  try {
    const work = await make(job)
    if (signal?.aborted) throw abortError(where, signal)
    return receive(job, await inWorker(job, { job: job.id, modules, work }, hooks))
  } finally {
    job.close()
  }
}

async function inWorker(job: WorkerJob, setup: JobSetup, { where, signal, onReply }: JobHooks): Promise<unknown> {
  const worker = startWorker(where, setup)
  let stop = (): void => undefined
  try {
    return await new Promise<unknown>((resolve, reject) => {
      stop = () => {
        job.cancel()
        worker.postMessage('abort')
      }
      signal?.addEventListener('abort', stop, { once: true })
      if (signal?.aborted) stop()
      worker.on('message', (reply: JobReply) => {
        if (reply.kind === 'done') resolve(reply.result)
        else if (reply.kind === 'failed') {
          const error = unpackSentError(
            reply.error,
            (message, cause) => new InternalError('ERR_INTERNAL', `${where}: ${message}`, { cause }),
          )
          // The reason is the caller's object: it did not cross the border.
          reject(signal?.aborted && isTersorError(error) && error.code === 'ERR_ABORTED' ? abortError(where, signal) : error)
        } else
          try {
            onReply(reply)
          } catch (error) {
            reject(error instanceof Error ? error : new InternalError('ERR_INTERNAL', `${where}: a listener threw ${String(error)}`))
          }
      })
      worker.on('messageerror', (cause) =>
        reject(new InternalError('ERR_INTERNAL', `${where}: a message of the worker cannot be read`, { cause })),
      )
      worker.on('error', (cause) => reject(endError(where, cause)))
      worker.on('exit', (code) => reject(new InternalError('ERR_INTERNAL', `${where}: the worker ended with exit code ${code}`)))
    })
  } finally {
    signal?.removeEventListener('abort', stop)
    // Whatever it still computes (a listener threw) must not hold up its end.
    job.cancel()
    await worker.terminate()
  }
}

/** Beside the source there is no program of the worker, in bundles none at all: that is said, not worked around. */
function startWorker(where: string, workerData: JobSetup): Worker {
  try {
    return new Worker(workerFile, { workerData })
  } catch (cause) {
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: no worker can be started: ${(cause as Error).message}`, {
      cause,
      details: { what: 'worker_threads' },
    })
  }
}

function endError(where: string, cause: unknown): Error {
  const { code, message = String(cause) } = cause as { readonly code?: string; readonly message?: string }
  if (code === 'ERR_WORKER_OUT_OF_MEMORY')
    return new MemoryBudgetError('ERR_MEMORY_BUDGET', `${where}: the worker ran out of JavaScript memory`, { cause })
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND')
    return new UnsupportedError('ERR_UNSUPPORTED', `${where}: no worker can be started: ${message}`, {
      cause,
      details: { what: 'worker_threads' },
    })
  return new InternalError('ERR_INTERNAL', `${where}: the worker failed: ${message}`, { cause })
}
