/** Checkpoints: an interrupted compression goes on with the same bits, and never with the wrong ones. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  compress,
  prune,
  quantize,
  recipe,
  removeCheckpoints,
  sparsify,
  train,
  type CompressEvent,
  type CompressOptions,
  type CompressReport,
  type CompressResult,
  type Recipe,
  type TrainResult,
} from '../../ts/compress/index.js'
import { memory } from '../../ts/native/devices.js'
import { bars, bitsOf, blobs, convnet, quick } from './toys.js'

const data = bars(200)
const validation = bars(100, 2)
const folder = mkdtempSync(join(tmpdir(), 'tersor-resume-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let dir = ''
beforeEach((context) => {
  dir = join(folder, context.task.id)
})

const made = recipe(
  [
    [prune.magnitude({ iterative: { fraction: 0.3, rounds: 3 }, scope: 'global', retrain: train.rewindLearningRate({ epochs: 1 }) })],
    [quantize.static({ samples: 64 }, { targets: ['conv'] }), quantize.static({ samples: 64, calibration: 'minmax' }, { targets: ['fc'] })],
    [sparsify.csr()],
  ],
  { seed: 5 },
)
let trained: TrainResult
let straight: CompressResult
const timeless = (r: CompressReport): unknown => JSON.parse(JSON.stringify(r, (key, v: unknown) => (key === 'seconds' ? 0 : v)))

function run(options: Partial<CompressOptions> = {}, what: Recipe = made): Promise<CompressResult> {
  return compress(trained.model, what, {
    data,
    validation,
    snapshots: trained.snapshots,
    checkpointDir: dir,
    checkpointSeconds: 0,
    ...options,
  })
}

/** Runs until the `at`-th event, aborts there. Gives whether it was in time. */
async function interrupt(at: number, options: Partial<CompressOptions> = {}): Promise<boolean> {
  const controller = new AbortController()
  let seen = 0
  try {
    await run({ ...options, signal: controller.signal, onEvent: () => void (++seen === at && controller.abort()) })
    return false
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_ABORTED' })
    return true
  }
}

function expectSame(result: CompressResult): void {
  expect(bitsOf(result.model)).toBe(bitsOf(straight.model))
  expect(result.model.info).toEqual(straight.model.info)
  expect(timeless(result.report)).toEqual(timeless(straight.report))
}

const runFiles = (): string[] =>
  readdirSync(dir)
    .filter((f) => f.startsWith('tersor-run-'))
    .sort()

beforeAll(async () => {
  trained = await train(convnet(), data, { ...quick, snapshotEpochs: [3, 4] })
  straight = await compress(trained.model, made, { data, validation, snapshots: trained.snapshots })
})

describe('resume', () => {
  it('interrupted at any event and continued = never interrupted (promise 5)', async () => {
    let total = 0
    await run({ onEvent: () => void total++ })
    removeCheckpoints(dir)
    let interruptions = 0
    for (let at = 2; at < total; at += 7) {
      if (await interrupt(at)) interruptions++
      expectSame(await run({ resume: true }))
    }
    expect(interruptions).toBeGreaterThan(8)
  })

  it('interrupted again and again, a little later each time', async () => {
    let rounds = 0
    while (await interrupt(8 + (rounds % 5), { resume: true })) if (++rounds > 200) break
    expect(rounds).toBeGreaterThan(8)
    expect(rounds).toBeLessThan(200)
    expectSame(await run({ resume: true }))
  })

  it('says where it goes on; the epochs of before are in the report', async () => {
    const stop = new AbortController()
    const onEvent = (e: CompressEvent): void => {
      if (e.type === 'train-start' && e.label === 'round 3 of 3') stop.abort()
    }
    await expect(run({ signal: stop.signal, onEvent })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    const events: CompressEvent[] = []
    const { report } = await run({ resume: true, onEvent: (e) => events.push(e) })
    expect(events.find((e) => e.type === 'resume')).toMatchObject({ stage: 0, pass: 0, fallback: false })
    expect(events.filter((e) => e.type === 'train-start').map((e) => e.label)).not.toContain('round 1 of 3')
    expect(report.passes[0]!.epochs).toHaveLength(3)
    expect(timeless(report)).toEqual(timeless(straight.report))
  })

  it('after the end it gives the result at once, without working', async () => {
    expectSame(await run())
    const events: CompressEvent[] = []
    expectSame(await run({ resume: true, onEvent: (e) => events.push(e) }))
    expect(events.map((e) => e.type)).toEqual(['run-start', 'resume', 'run-end'])
  })

  it('where there is nothing to resume it starts; without resume it starts afresh and removes what was there', async () => {
    expectSame(await run({ resume: true }))
    const events: CompressEvent[] = []
    expectSame(await run({ onEvent: (e) => events.push(e) }))
    expect(events.map((e) => e.type)).toContain('train-start')
    expect(runFiles().length).toBeLessThanOrEqual(2)
  })

  it('frees everything of the interrupted and of the resumed run', async () => {
    const before = memory().tensors
    await interrupt(12)
    expect(memory().tensors).toBeLessThanOrEqual(before)
    await interrupt(3, { resume: true })
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })
})

describe('files', () => {
  it('two generations are kept, nothing else of ours, and nothing of others is touched', async () => {
    mkdirSync(dir, { recursive: true })
    writeFileSync(join(dir, 'notes.txt'), 'mine')
    await interrupt(30)
    expect(runFiles()).toHaveLength(2)
    const other = readdirSync(dir).filter((f) => !f.startsWith('tersor-run-'))
    expect(other.filter((f) => !/^tersor-model-[0-9]{12}\.safetensors$/.test(f))).toEqual(['notes.txt'])
    removeCheckpoints(dir)
    expect(readdirSync(dir)).toEqual(['notes.txt'])
    expect(readFileSync(join(dir, 'notes.txt'), 'utf8')).toBe('mine')
  })

  it.each([
    ['truncated', (file: string) => truncateSync(file, readFileSync(file).length >> 1)],
    ['empty', (file: string) => writeFileSync(file, '')],
    ['a bit flipped in the middle', (file: string) => flip(file, 0.5)],
    ['a bit flipped in the header', (file: string) => flip(file, 0.01)],
    ['a bit flipped at the end', (file: string) => flip(file, 0.999)],
  ])('the newest %s: the one before is taken, and the run says so (P06)', async (_how, damage) => {
    await interrupt(25)
    damage(join(dir, runFiles().at(-1)!))
    const events: CompressEvent[] = []
    expectSame(await run({ resume: true, onEvent: (e) => events.push(e) }))
    expect(events.find((e) => e.type === 'resume')).toMatchObject({ fallback: true })
    expect(events.find((e) => e.type === 'warning')).toMatchObject({ message: expect.stringContaining('damaged') })
  })

  it('both damaged: ERR_CHECKPOINT that says what to do; nothing was removed', async () => {
    await interrupt(25)
    for (const f of runFiles()) truncateSync(join(dir, f), 100)
    const files = readdirSync(dir)
    await expect(run({ resume: true })).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      details: { reason: 'damaged' },
      message: expect.stringContaining('start again without resume'),
    })
    expect(readdirSync(dir)).toEqual(files)
    expectSame(await run())
  })

  it('a damaged or missing model file is noticed too', async () => {
    let saved = 0
    const stop = new AbortController()
    await expect(
      run({ signal: stop.signal, onEvent: (e) => void (e.type === 'pass-start' && e.at.stage === 2 && (saved++, stop.abort())) }),
    ).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    expect(saved).toBe(1)
    const models = readdirSync(dir)
      .filter((f) => f.startsWith('tersor-model-'))
      .sort()
    rmSync(join(dir, models.at(-1)!))
    expectSame(await run({ resume: true }))
  })

  it('of another recipe, model, data set: ERR_CHECKPOINT, and nothing is lost', async () => {
    await interrupt(20)
    const files = readdirSync(dir)
    const refused = async (reason: string, promise: Promise<unknown>): Promise<void> => {
      await expect(promise).rejects.toMatchObject({ code: 'ERR_CHECKPOINT', details: { reason } })
      expect(readdirSync(dir)).toEqual(files)
    }
    await refused('recipe', run({ resume: true }, recipe(made.stages, { seed: 6 })))
    await refused('data', run({ resume: true, data: bars(200, 9) }))
    await refused('validation', run({ resume: true, validation: bars(99, 2) }))
    await refused('model', compress(convnet(2), recipe([[quantize.rtn()]]), { checkpointDir: dir, resume: true }))
    expectSame(await run({ resume: true }))
  })

  it('a second run in the same directory is ERR_BUSY and disturbs nothing', async () => {
    const first = run()
    await expect(run()).rejects.toMatchObject({ code: 'ERR_BUSY' })
    expect(() => removeCheckpoints(dir)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
    expectSame(await first)
    expectSame(await run({ resume: true }))
  })

  it('a directory that cannot be made is ERR_IO before any work', async () => {
    writeFileSync(dir, 'a file')
    const events: CompressEvent[] = []
    await expect(run({ onEvent: (e) => events.push(e) })).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(run({ checkpointDir: '' })).rejects.toMatchObject({ code: 'ERR_OPTION' })
    expect(events).toEqual([])
    expect(readFileSync(dir, 'utf8')).toBe('a file')
  })

  it('a checkpoint from the future is refused, not misread', async () => {
    await interrupt(20)
    const { readSafetensors, writeSafetensors } = await import('../../ts/formats/index.js')
    for (const f of runFiles()) {
      const { tensors, metadata } = readSafetensors(join(dir, f))
      const text = metadata.get('tersor.checkpoint')!.replace('"format":1', '"format":2')
      writeSafetensors(join(dir, f), tensors, { metadata: { 'tersor.checkpoint': text } })
    }
    await expect(run({ resume: true })).rejects.toMatchObject({ code: 'ERR_CHECKPOINT', details: { reason: 'version' } })
  })
})

it('numeric trouble keeps the last good checkpoint', async () => {
  const numbers = blobs(100)
  const { mlp } = await import('./toys.js')
  const model = (await train(mlp(), numbers, quick)).model
  const bad = recipe([
    [quantize.rtn({ bits: 8 }, { targets: ['fc1'] })],
    [prune.magnitude({ sparsity: 0.5, retrain: train.finetune({ epochs: 50, lr: 1e30 }) }, { ignore: ['fc1'] })],
  ])
  await expect(compress(model, bad, { data: numbers, checkpointDir: dir })).rejects.toMatchObject({ code: 'ERR_NUMERIC' })
  expect(runFiles()).toHaveLength(1)
  const events: CompressEvent[] = []
  await expect(
    compress(model, bad, { data: numbers, checkpointDir: dir, resume: true, onEvent: (e) => events.push(e) }),
  ).rejects.toMatchObject({ code: 'ERR_NUMERIC' })
  expect(events.find((e) => e.type === 'resume')).toMatchObject({ stage: 1, pass: 0, fallback: false })
})

function flip(file: string, share: number): void {
  const bytes = readFileSync(file)
  bytes[Math.floor(bytes.length * share)]! ^= 1
  writeFileSync(file, bytes)
}
