/** Jobs of a reproduction in processes of their own, a few at a time: trainings of small nets use one thread each best. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Runs `module` once per job (JSON in argv[2]); it answers with one message. Results in the order of the jobs; the first failure or the signal ends all. A module calls
 * `answerJob`.
 */
export async function inProcesses<J, R>(
  module: URL,
  jobs: readonly J[],
  width: number,
  { signal, done }: { readonly signal: AbortSignal; readonly done?: (job: J, seconds: number) => void },
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < jobs.length) {
      const k = next++
      const began = performance.now()
      results[k] = await one<R>(module, JSON.stringify(jobs[k]), signal)
      done?.(jobs[k]!, (performance.now() - began) / 1000)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, jobs.length) }, lane))
  return results
}

function one<R>(module: URL, job: string, signal: AbortSignal): Promise<R> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(module), [job], { signal, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    let answer: { readonly result: R } | undefined
    child.on('message', (m) => (answer = m as { readonly result: R }))
    child.on('error', reject)
    child.on('close', (code) => {
      if (answer) resolve(answer.result)
      else reject(new Error(`papers: the process of ${job} ended with ${code} and without an answer`))
    })
  })
}

/** For the module that runs a job; does nothing where it is imported for its types and constants. */
export async function answerJob<J, R>(url: string, run: (job: J) => Promise<R>): Promise<void> {
  if (process.argv[1] !== fileURLToPath(url) || !process.send) return
  const result = await run(JSON.parse(process.argv[2]!) as J)
  await new Promise<void>((sent) => process.send!({ result }, undefined, undefined, () => sent()))
  process.disconnect()
}
