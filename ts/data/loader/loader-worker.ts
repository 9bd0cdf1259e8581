/** The program of a loader's worker: takes jobs, answers with batches whose memory is handed over. Never loads the native addon. */
import { parentPort, workerData } from 'node:worker_threads'
import { packError } from '../../base/sent-error.js'
import type { Reply, Request } from './messages.js'
import { loadMap } from './module-map.js'
import { BatchMaker, buffersOf, type WorkSetup } from './work.js'

async function serve(port: NonNullable<typeof parentPort>, setup: WorkSetup): Promise<void> {
  const say = (reply: Reply, memory: ArrayBuffer[] = []): void => port.postMessage(reply, memory)
  let maker: BatchMaker
  try {
    maker = new BatchMaker(setup, setup.map && (await loadMap(setup.map)))
  } catch (error) {
    say({ kind: 'refused', error: packError(error) })
    return
  }
  port.on('message', ({ id, ...job }: Request) => {
    try {
      const batch = maker.make(job)
      say({ kind: 'batch', id, batch }, buffersOf(batch))
    } catch (error) {
      say({ kind: 'failed', id, error: packError(error) })
    }
  })
  say({ kind: 'ready' })
}

if (parentPort) void serve(parentPort, workerData as WorkSetup)
