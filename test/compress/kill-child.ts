/**
 * A process to be killed. `DIR long`: goes on with the long job, says `saved` after each checkpoint and `done HASH` at the end; the parent kills it.
 * `DIR PASS...`: finishes the first of these jobs, which may have been begun, then begins the next and kills itself (SIGKILL) in the middle of its pass, where the
 * job says. Dying by its own hand the moment is the same in every run.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { compress, type CompressEvent } from '../../ts/compress/index.js'
import { jobs, longJob, type Job } from './kill-jobs.js'
import { bitsOf } from './toys.js'

const say = (line: string): void => void fs.writeSync(1, `${line}\n`)

async function run(job: Job, dir: string, onEvent: (e: CompressEvent) => void): Promise<string> {
  const { model } = await compress(job.model(), job.recipe, {
    ...job.options(),
    checkpointDir: dir,
    checkpointSeconds: 0,
    resume: true,
    onEvent,
  })
  return createHash('sha256').update(bitsOf(model)).digest('hex')
}

function die(): void {
  process.kill(process.pid, 'SIGKILL')
  // The signal is delivered before this is over; nothing else happens meanwhile.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000)
}

async function finish(name: string, dir: string): Promise<void> {
  const hash = await run(jobs[name]!, path.join(dir, name.replace('/', '-')), (e) => {
    if (e.type === 'resume') say(`resumed ${name} stage ${e.stage}`)
    if (e.type === 'train-start') say(`trains ${e.label}: step ${e.step - e.firstStep}`)
  })
  say(`done ${name} ${hash}`)
}

async function begin(name: string, dir: string): Promise<void> {
  const { saves } = jobs[name]!
  let [saved, inside] = [0, false]
  await run(jobs[name]!, path.join(dir, name.replace('/', '-')), (e) => {
    if (e.type === 'pass-start') inside = e.at.name === name
    if (!inside) return
    if (e.type === 'checkpoint') saved++
    if (saves === undefined ? e.type === 'progress' || e.type === 'pass-end' : e.type === 'checkpoint' && saved === saves) die()
  })
  say(`survived ${name}`)
}

async function main(dir: string, [first, next]: readonly string[]): Promise<void> {
  if (first === 'long') {
    say(`done ${await run(longJob, dir, (e) => e.type === 'checkpoint' && say('saved'))}`)
    return
  }
  if (first !== undefined && first !== '-') await finish(first, dir)
  if (next !== undefined) await begin(next, dir)
}

void main(process.argv[2]!, process.argv.slice(3))
