/** Checkpoints of a training: two generations, fall-back past what is damaged, no fall-back past what belongs to another training. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { removeTrainCheckpoints, train, type TrainOptions } from '../../ts/compress/index.js'
import type { TrainEvent } from '../../ts/compress/events.js'
import { readSafetensors, writeSafetensors } from '../../ts/formats/index.js'
import { bitsOf, blobs, mlp, quick } from './toys.js'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-train-'))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

const data = blobs(200)
const held = blobs(60, { seed: 2 })
let dir = ''
let count = 0
beforeEach(() => (dir = path.join(root, String(++count))))

const options = (more: Partial<TrainOptions> = {}): TrainOptions => ({
  ...quick,
  validation: held,
  checkpointDir: dir,
  checkpointSeconds: 0,
  ...more,
})

/** Stops behind step `at`; the checkpoints of steps `at` - 1 and `at` stay. */
async function stopAt(at: number, more: Partial<TrainOptions> = {}): Promise<void> {
  const controller = new AbortController()
  let steps = 0
  const checkpoint = (_take: unknown, now: boolean): void => void (!now && ++steps === at && controller.abort())
  await expect(train(mlp({ p: 0.2 }), data, { ...options(more), checkpoint, signal: controller.signal })).rejects.toMatchObject({
    code: 'ERR_ABORTED',
  })
}

const files = (): string[] =>
  fs
    .readdirSync(dir)
    .filter((f) => !f.startsWith('.'))
    .sort()
const file = (back: number): string => path.join(dir, files().at(-1 - back)!)

async function resume(more: Partial<TrainOptions> = {}): Promise<{ events: TrainEvent[]; bits: string }> {
  const events: TrainEvent[] = []
  const { model } = await train(
    mlp({ p: 0.2 }),
    data,
    options({ resume: true, checkpointSeconds: 1000, onEvent: (e) => events.push(e), ...more }),
  )
  return { events, bits: bitsOf(model) }
}

const unbroken = train(mlp({ p: 0.2 }), data, quick).then(({ model }) => bitsOf(model))

describe('checkpoints of a training', () => {
  it('keeps two generations, goes on from the newest to the same bits, and gives a finished training at once', async () => {
    const straight = await unbroken
    await stopAt(9)
    expect(files()).toHaveLength(2)
    const { events, bits } = await resume()
    expect(events[0]).toMatchObject({ type: 'train-resume', step: 9 })
    expect(events[0]).not.toHaveProperty('fallback')
    expect(bits).toBe(straight)
    expect(files()).toHaveLength(2)
    const again = await resume()
    expect(again.bits).toBe(straight)
    expect(again.events.filter((e) => e.type === 'train-epoch')).toEqual([])
    removeTrainCheckpoints(dir)
    expect(fs.readdirSync(dir)).toEqual([])
  })

  it.each([
    ['half written', (f: string): void => fs.truncateSync(f, Math.floor(fs.statSync(f).size / 2))],
    ['empty', (f: string): void => fs.truncateSync(f, 0)],
    [
      'with a flipped bit',
      (f: string) => {
        const bytes = fs.readFileSync(f)
        bytes[bytes.length - 5]! ^= 4
        fs.writeFileSync(f, bytes)
      },
    ],
    ['of another program', (f: string): void => void writeSafetensors(f, readSafetensors(f).tensors, { metadata: { format: 'pt' } })],
    ['no tensor file at all', (f: string): void => fs.writeFileSync(f, 'hello')],
    [
      'without a state',
      (f: string): void => void writeSafetensors(f, readSafetensors(f).tensors, { metadata: { 'tersor.training': '{"format":1}' } }),
    ],
  ] as const)('%s: the generation before, and both are named', async (_what, damage: (file: string) => unknown) => {
    const straight = await unbroken
    await stopAt(5)
    const [newest, before] = [0, 1].map((back) => Number(/\d+/.exec(path.basename(file(back)))![0])) as [number, number]
    damage(file(0))
    const { events, bits } = await resume()
    expect(events[0]).toMatchObject({
      type: 'train-resume',
      generation: before,
      fallback: { generation: newest, reason: expect.any(String) },
    })
    expect(bits).toBe(straight)
    expect(files().some((f) => f.includes(String(newest).padStart(12, '0')))).toBe(false)
  })

  it('all damaged: ERR_CHECKPOINT with the reason, and nothing is removed', async () => {
    await stopAt(5)
    for (const back of [0, 1]) fs.truncateSync(file(back), 100)
    await expect(resume()).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      details: { reason: 'damaged' },
      message: expect.stringContaining(dir),
    })
    expect(files()).toHaveLength(2)
  })

  it.each([
    ['model', 'model', () => train(mlp({ p: 0.2, seed: 2 }), data, options({ resume: true }))],
    ['settings', 'seed 7, now 8', () => train(mlp({ p: 0.2 }), data, options({ resume: true, seed: 8 }))],
    ['examples', '200, now 120', () => train(mlp({ p: 0.2 }), blobs(120), options({ resume: true }))],
    ['data', 'blobs, now others', () => train(mlp({ p: 0.2 }), { ...data, name: 'others' }, options({ resume: true }))],
  ] as const)(
    'of another training (%s): ERR_CHECKPOINT that says what differs, also where an older one would fit',
    async (reason, text, again) => {
      await stopAt(3)
      await expect(again()).rejects.toMatchObject({ code: 'ERR_CHECKPOINT', details: { reason }, message: expect.stringContaining(text) })
      expect((await resume()).events[0]).toMatchObject({ type: 'train-resume', step: 3 })
    },
  )

  it('other samples under the same name and size: ERR_CHECKPOINT that names the digest', async () => {
    await stopAt(3)
    await expect(train(mlp({ p: 0.2 }), blobs(200, { seed: 9 }), options({ resume: true }))).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      details: { reason: 'options' },
      message: expect.stringContaining('digest'),
    })
  })

  it('the newest cannot be read for the moment: that error, and nothing is removed', async () => {
    await stopAt(5)
    const before = files()
    const [newest, aside] = [file(0), `${dir}.aside`]
    fs.renameSync(newest, aside)
    fs.mkdirSync(newest)
    await expect(resume()).rejects.toMatchObject({ code: 'ERR_IO' })
    expect(files()).toEqual(before)
    fs.rmdirSync(newest)
    fs.renameSync(aside, newest)
    expect((await resume()).events[0]).toMatchObject({ type: 'train-resume', step: 5 })
  })

  it('a model that does not fit is refused before the old checkpoints go', async () => {
    await stopAt(3)
    const before = files()
    await expect(train(mlp(), { ...data, classes: ['one'] }, options())).rejects.toMatchObject({ code: 'ERR_OPTION' })
    expect(files()).toEqual(before)
  })

  it('options that cannot be kept: ERR_OPTION', async () => {
    const { checkpointDir: _dir, ...without } = options()
    await expect(train(mlp(), data, { ...without, resume: true })).rejects.toMatchObject({
      code: 'ERR_OPTION',
      details: { pointer: '/resume' },
    })
    for (const checkpointSeconds of [NaN, -1])
      await expect(train(mlp(), data, options({ checkpointSeconds }))).rejects.toMatchObject({
        code: 'ERR_OPTION',
        details: { pointer: '/checkpointSeconds' },
      })
  })

  it('of another version: ERR_CHECKPOINT', async () => {
    await stopAt(3)
    const { tensors, metadata } = readSafetensors(file(0))
    const head = metadata.get('tersor.training')!.replace(/"version":"[^"]*"/, '"version":"0.0.0"')
    writeSafetensors(file(0), tensors, { metadata: { 'tersor.training': head } })
    await expect(resume()).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      details: { reason: 'version' },
      message: expect.stringContaining('0.0.0'),
    })
  })

  it('a NaN leaves the last good checkpoint, and two at a time are ERR_BUSY', async () => {
    const settings = { schedule: { kind: 'constant' as const, lr: 1e30 } }
    await expect(train(mlp(), data, options(settings))).rejects.toMatchObject({ code: 'ERR_NUMERIC', details: { stage: 'train' } })
    for (const name of files())
      for (const [path_, { dtype, data: bytes }] of readSafetensors(path.join(dir, name), { checksums: 'require' }).tensors)
        if (dtype === 'f32') expect(new Float32Array(bytes.slice().buffer).every(Number.isFinite), path_).toBe(true)
    let busy: unknown
    await train(mlp(), data, {
      ...options(),
      onEvent: (e) => {
        if (e.type !== 'train-start') return
        busy = train(mlp(), data, options()).catch((error: unknown) => error)
      },
    })
    expect(await busy).toMatchObject({ code: 'ERR_BUSY' })
  })

  it('without resume old checkpoints go', async () => {
    await stopAt(5)
    const events: TrainEvent[] = []
    await train(mlp({ p: 0.2 }), data, options({ onEvent: (e) => events.push(e) }))
    expect(events[0]!.type).toBe('train-start')
    expect(events.filter((e) => e.type === 'checkpoint')).toHaveLength(28)
  })
})
