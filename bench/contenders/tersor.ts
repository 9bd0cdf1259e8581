/**
 * Tersor through its public API, as a contender. TERSOR_BENCH_PACKAGE: the folder of the built package (another revision for bench:compare);
 * TERSOR_ISA caps it. A function that a revision lacks makes its kernels unsupported there, not an error.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { serve, Unsupported, type ServedCase } from '../lib/serve.js'
import type { Job } from '../lib/protocol.js'
import { encoderKernels } from './tersor-encoder.js'
import { graphKernels } from './tersor-graphs.js'
import { imageKernels } from './tersor-images.js'
import { kernels, type Api } from './tersor-kernels.js'
import { modelKernels } from './tersor-models.js'
import { netKernels } from './tersor-nets.js'
import { stepKernels } from './tersor-steps.js'

const folder = process.env.TERSOR_BENCH_PACKAGE ?? join(import.meta.dirname, '..', '..')
const load = (entry: string): Promise<Api> => import(pathToFileURL(join(folder, 'dist', 'esm', entry)).href)
const index = await load('index.js')
// `quantize` is a function in kernels and the passes of that name in the library.
const api = { ...(await load('nn/index.js')), ...index, ...(await load('kernels/index.js')), passes: index.quantize }
const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }
const levels = api.isa().levels.filter((level: { allowed: boolean }) => level.allowed)

const table = { ...kernels, ...netKernels, ...stepKernels, ...encoderKernels, ...imageKernels, ...modelKernels, ...graphKernels }

async function prepare(job: Job): Promise<ServedCase> {
  const kernel = table[job.kernel]
  if (!kernel) throw new Unsupported(`no ${job.kernel} in this driver of Tersor`)
  api.setThreads(job.threads)
  try {
    const served = await kernel(api, job.params as Record<string, number>)
    // The number of threads is the process's, and other jobs may have set another one.
    return { ...served, calls: served.calls.map((call) => withThreads(call, job.threads)) }
  } catch (error) {
    if (error instanceof TypeError && /is not a function|undefined/.test(error.message))
      throw new Unsupported('this revision has no such function')
    throw error
  }
}

let threads = 0
function withThreads(call: () => unknown, wanted: number): () => unknown {
  return () => {
    if (threads !== wanted) api.setThreads((threads = wanted))
    return call()
  }
}

await serve({ name: 'tersor', version, isa: levels.at(-1)?.name ?? 'scalar' }, prepare)
