/**
 * A long job that one thread gives to another (node:worker_threads): a flag that cancels the worker's native calls, and tensors that go from one side to
 * the other without a copy. The flag is looked at inside `interruptible` only, so that a step of a training stays all or nothing.
 */
import { addon, nativeError, type HasHandle } from './call.js'
import { noteDevice } from './device.js'

export class WorkerJob {
  private constructor(readonly id: number) {}

  /** A new job. The thread that opens it closes it. */
  static open(): WorkerJob {
    return new WorkerJob(addon().jobOpen())
  }

  /** In the worker: this thread works for the job from now on. ERR_ABORTED when it was closed meanwhile. */
  static attach(id: number): WorkerJob {
    if (addon().jobAttach(id) < 0) throw nativeError(addon())
    attached = true
    return new WorkerJob(id)
  }

  /** In the worker: this thread works for no job any more. */
  static detach(): void {
    addon().jobAttach(0)
    attached = false
  }

  /** Native calls of the worker that may be interrupted end with ERR_ABORTED, from any thread, at once. */
  cancel(): void {
    addon().jobCancel(this.id)
  }

  /** Makes a tensor (contiguous) known to the other side, by number. Until the job is closed nobody may write to it: ERR_BUSY. */
  lend(tensor: HasHandle): number {
    const index = addon().jobLend(this.id, tensor.handle)
    if (index < 0) throw nativeError(addon())
    return index
  }

  /** Describes a tensor that the other side lent in the page; the handle in it is this thread's own. */
  take(index: number): ArrayLike<number> {
    const native = addon()
    if (native.jobTake(this.id, index) < 0) throw nativeError(native)
    noteDevice(native.out[0]!)
    return native.out
  }

  close(): void {
    addon().jobClose(this.id)
  }
}

let attached = false

/**
 * Runs fn so that cancelling the job of this thread ends the native call under way with ERR_ABORTED. For work that leaves nothing half done: gradients,
 * evaluation. In a thread that works for no job it only calls fn.
 */
export function interruptible<T>(fn: () => T): T {
  if (!attached) return fn()
  const native = addon()
  const before = native.jobInterruptible(1)
  const end = (): void => void native.jobInterruptible(before)
  let result: T
  try {
    result = fn()
  } catch (error) {
    end()
    throw error
  }
  if (result instanceof Promise) return result.finally(end) as T
  end()
  return result
}
