/**
 * The worker threads of a loader. They are unreferenced: alone they never keep the process alive; while somebody waits for a batch (`hold`), they do.
 */
import { Worker } from 'node:worker_threads'
import { AbortError, DataError } from '../../base/errors.js'
import type { LoadedBatch } from './contract.js'
import { unpackError, type Reply, type Request } from './messages.js'
import type { Job, WorkSetup } from './work.js'
import { workerFile } from './worker-file.cjs'

interface Waiting {
  readonly worker: number
  readonly resolve: (batch: LoadedBatch) => void
  readonly reject: (error: Error) => void
}

/** A worker could not be started at all: the caller may do the work itself. */
export class WorkersUnavailable extends Error {}

export class WorkerPool {
  readonly #workers: Worker[] = []
  readonly #waiting = new Map<number, Waiting>()
  #next = 0
  #holds = 0
  #closed = false
  /** The error after which no batch comes any more. */
  #broken: Error | undefined

  /** Resolves when all workers are ready. WorkersUnavailable when one does not start; what a worker refuses (a map, a file) as it is. */
  async start(setup: WorkSetup, count: number, file = workerFile): Promise<void> {
    await Promise.all(Array.from({ length: count }, (_, k) => this.#start(setup, k, file)))
  }

  #start(setup: WorkSetup, k: number, file: string): Promise<void> {
    return new Promise((resolve, reject) => {
      let worker: Worker
      try {
        worker = new Worker(file, { workerData: setup })
      } catch (error) {
        reject(new WorkersUnavailable((error as Error).message))
        return
      }
      this.#workers.push(worker)
      let ready = false
      const end = (why: string): void => {
        if (ready) this.#break(new DataError('ERR_DATA', `loader: a worker ended: ${why}`, { details: { reason: 'worker' } }))
        else reject(this.#closed ? closedError() : new WorkersUnavailable(why))
      }
      worker.on('message', (reply: Reply) => {
        if (reply.kind === 'ready') {
          ready = true
          resolve()
        } else if (reply.kind === 'refused') reject(unpackError(reply.error))
        else this.#answer(reply)
      })
      worker.on('error', (error: unknown) => end(error instanceof Error ? error.message : String(error)))
      worker.on('exit', (code) => end(`exit code ${code}`))
      // Listening to messages references the thread again: this comes last.
      if (this.#holds === 0) worker.unref()
    })
  }

  #answer(reply: Extract<Reply, { id: number }>): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (reply.kind === 'batch') waiting?.resolve(reply.batch)
    else waiting?.reject(unpackError(reply.error))
  }

  #break(error: Error): void {
    this.#broken ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#broken)
    this.#waiting.clear()
  }

  /** Job `id` goes to the worker whose turn it is. */
  run(id: number, job: Job): Promise<LoadedBatch> {
    return new Promise((resolve, reject) => {
      if (this.#broken) {
        reject(this.#broken)
        return
      }
      const worker = this.#next++ % this.#workers.length
      this.#waiting.set(id, { worker, resolve, reject })
      this.#workers[worker]!.postMessage({ id, ...job } satisfies Request)
    })
  }

  /** Keeps the process alive until as many `release` have been called. */
  hold(): void {
    if (this.#holds++ === 0) for (const worker of this.#workers) worker.ref()
  }

  release(): void {
    if (--this.#holds === 0) for (const worker of this.#workers) worker.unref()
  }

  close(error: Error = closedError()): void {
    this.#closed = true
    this.#break(error)
    for (const worker of this.#workers) void worker.terminate()
  }
}

export const closedError = (): AbortError => new AbortError('ERR_ABORTED', 'loader: closed')
