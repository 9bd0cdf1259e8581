/** A checkpoint that cannot be written ends the run with its error; nothing leaks, wherever it happens. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { compress, quantize, recipe, type CompressEvent } from '../../ts/compress/index.js'
import { memory } from '../../ts/native/devices.js'
import type { Model } from '../../ts/nn/index.js'
import { jobs } from './kill-jobs.js'
import { blobs, mlp } from './toys.js'

const folder = mkdtempSync(join(tmpdir(), 'tersor-full-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Frees what a run made; the rest belongs to the model. */
function free(made: Model, model: Model): void {
  const kept = new Set<unknown>([...model.weights().map((w) => w.weight), ...model.state().values()])
  for (const { weight } of made.weights()) if (!kept.has(weight)) weight.dispose()
  for (const t of made.state().values()) if (!kept.has(t)) t.dispose()
}

// Right behind a training the pass holds a model that nobody else has.
it.each(Object.entries(jobs).filter(([, job]) => job.saves !== undefined))('%s', async (name, job) => {
  const model = job.model()
  const options = { ...job.options(), checkpointDir: join(folder, name.replace('/', '-')), checkpointSeconds: 0 }
  const before = memory().tensors
  const run = async (fails: number): Promise<{ made?: Model; places: string[] }> => {
    const places: string[] = []
    const onEvent = (e: CompressEvent): void => {
      if (e.type === 'checkpoint' && places.push(e.at!.name) === fails) throw new Error('the disk is full')
    }
    const done = await compress(model, job.recipe, { ...options, onEvent }).catch((error: Error) => void expect(error.message).toBe('the disk is full')) // prettier-ignore
    return { places, ...(done ? { made: done.model } : {}) }
  }
  const { made, places } = await run(0)
  free(made!, model)
  expect(memory().tensors).toBe(before)
  // The pass's last one is written behind it, the one before that behind the training.
  for (const at of [places.lastIndexOf(name), places.lastIndexOf(name) + 1]) {
    expect((await run(at)).made).toBeUndefined()
    expect(memory().tensors, `the ${at}th`).toBe(before)
  }
})

it('what was shared in tables and is rounded again is said in the report', async () => {
  const data = blobs(64)
  for (const again of [
    quantize.rtn({ bits: 4 }),
    quantize.gptq({ bits: 4 }),
    quantize.mixed({ budget: 1e5, iterations: 8, samples: 32 }),
  ]) {
    const { report } = await compress(mlp(), recipe([[quantize.codebook({ bits: 3 }, { targets: ['fc2.weight'] })], [again]]), { data })
    const texts = report.passes[1]!.notes.filter((n) => /^made of codebook|^made of .*: its shared values are rounded/.test(n.text))
    expect(texts.map((n) => n.path), again.pass).toEqual(['fc2.weight']) // prettier-ignore
  }
})
