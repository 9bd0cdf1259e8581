/** A device (emulated) that runs out of memory or goes away in the middle of something: what was there stays, nothing is half done, the processor goes on. */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset } from '../../ts/data/index.js'
import { classification, device, memory, ops, scope, session, setDefaultDevice, tensor, toDevice, trainTask, type Device } from '../../ts/index.js'
import { saveModel } from '../../ts/models/index.js'
import { addon } from '../../ts/native/call.js'
import { activation, build, freshValues, linear, Model, sequential } from '../../ts/nn/index.js'
import { root } from '../../tools/problems.js'
import { code, emulatedDevice, hasEmulated } from './emulated-device.js'

const [MEMORY, LOST] = [0, 2]
const features = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 1.7))
const labels = Int32Array.from({ length: 16 }, (_, i) => i % 2)
const data = numberDataset({ name: 'waves', classes: ['down', 'up'], inputShape: [4], features, labels, scale: 1 })

function net(): Model {
  const spec = sequential({
    a: linear({ in: 4, out: 8, bias: true, init: 'he' }),
    r: activation({ function: 'relu' }),
    b: linear({ in: 8, out: 2, bias: true, init: 'he' }),
  })
  const info = { name: 'net', task: 'classification', classes: data.classes, inputShape: [4], history: [] } as const
  return new Model(build(spec, freshValues(Rng.of(1, 'test'))), info)
}

describe.skipIf(!hasEmulated)('faults of a CUDA device (emulated)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tersor-faults-'))
  let cuda: Device
  beforeAll(() => {
    emulatedDevice()
    cuda = device('cuda:1')
    addon().deviceInject(cuda.id, LOST, 0) // heals it, where another file of this process lost it
  })
  afterEach(() => {
    setDefaultDevice('cpu')
    addon().deviceInject(cuda.id, MEMORY, 0)
    addon().deviceInject(cuda.id, LOST, 0)
  })
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  /** `what` with the first, second, ... allocation refused, until it needs no more; after each, nothing is left on the device. */
  const everyAllocation = async (what: () => unknown): Promise<number> => {
    await what() // what stays for good: the block that checks report to
    const held = cuda.memory().blocks
    const tensors = memory().tensors
    for (let n = 1; ; n++) {
      addon().deviceInject(cuda.id, MEMORY, n)
      const error: unknown = await Promise.resolve()
        .then(what)
        .then(
          () => undefined,
          (e: unknown) => e,
        )
      addon().deviceInject(cuda.id, MEMORY, 0)
      expect([cuda.memory().blocks, memory().tensors], `allocation ${n}`).toEqual([held, tensors])
      if (error === undefined) return n - 1
      expect(error, `allocation ${n}`).toEqual(code('ERR_MEMORY_BUDGET'))
    }
  }

  it('a model moves there whole or not at all, whichever allocation is refused', async () => {
    const model = net()
    expect(await everyAllocation(() => toDevice(model, cuda).dispose())).toBeGreaterThanOrEqual(4) // two weights, two biases
    model.dispose()
  })

  it('a session that gets no memory runs again when there is some', async () => {
    const model = net()
    const there = toDevice(model, cuda)
    const input = { data: features.slice(0, 8), shape: [2, 4] }
    const s = session(model)
    const want = Array.from(s.runSync(input).output!.data, Number)
    const run = async (): Promise<void> => {
      const t = session(there)
      try {
        const scores = [...(await t.run(input)).output!.data]
        scores.forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 5))
      } finally {
        t.dispose()
      }
    }
    expect(await everyAllocation(run)).toBeGreaterThan(0)
    for (const one of [s, model, there]) one.dispose()
  })

  it.each([1, 7, 60, 200])('a training whose device is lost at its call %i is ERR_DEVICE; the file that was there stays', async (n) => {
    const model = net()
    const there = toDevice(model, cuda)
    const file = join(folder, 'net.safetensors')
    saveModel(there, file)
    const before = readFileSync(file)
    setDefaultDevice(cuda)
    addon().deviceInject(cuda.id, LOST, n)
    await expect(trainTask(there, classification(data, {}), { epochs: 20, batchSize: 4, seed: 1 })).rejects.toEqual(code('ERR_DEVICE', 'cuda:1'))
    setDefaultDevice('cpu')
    expect(() => saveModel(there, file)).toThrow(code('ERR_DEVICE', 'cuda:1'))
    expect(readFileSync(file).equals(before)).toBe(true)
    expect(readdirSync(folder)).toEqual(['net.safetensors'])
    expect(() => toDevice(there, 'cpu')).toThrow(code('ERR_DEVICE'))
    const { model: trained } = await trainTask(model, classification(data, {}), { epochs: 1, batchSize: 4, seed: 1 })
    for (const m of [there, model, trained]) m.dispose()
  })

  it('a session whose device is lost says so, synchronously and not, and lets go', async () => {
    const model = net()
    const there = toDevice(model, cuda)
    const s = session(there)
    const input = { data: features.slice(0, 8), shape: [2, 4] }
    s.runSync(input)
    addon().deviceInject(cuda.id, LOST, 1)
    expect(() => s.runSync(input)).toThrow(code('ERR_DEVICE', 'cuda:1'))
    await expect(s.run(input)).rejects.toEqual(code('ERR_DEVICE', 'cuda:1'))
    for (const one of [s, model, there]) one.dispose()
    scope(() => expect(ops.add(tensor([1]), tensor([2])).toArray()).toEqual([3]))
  })

  // The runner takes the whole way from the environment; a fault of one process is none of another's.
  const runner = join(root, 'build/Release/tersor_cuda_test_emulated')
  const runs = (env: Record<string, string>): Promise<{ failed: boolean; text: string }> =>
    new Promise((resolve) => {
      execFile(runner, ['--filter', 'elementwise', '--filter', 'copies'], { env: { ...process.env, TERSOR_CUDA_EMULATE_DEVICES: '1', ...env } }, (error, out, err) =>
        resolve({ failed: error !== null, text: out + err }),
      )
    })
  it.skipIf(!existsSync(runner))('processes side by side: one without a driver, one that loses the device, one without memory, one that goes on', async () => {
    const [fine, old, lost, launch, full] = await Promise.all([
      runs({}),
      runs({ TERSOR_CUDA_EMULATE_DEVICES: '-1' }),
      runs({ TERSOR_CUDA_FAIL: 'lost:3' }),
      runs({ TERSOR_CUDA_FAIL: 'launch:2' }),
      runs({ TERSOR_CUDA_FAIL: 'alloc:1' }),
    ])
    expect(fine).toMatchObject({ failed: false, text: expect.stringMatching(/[1-9]\d* passed, 0 failed/) as string })
    expect(old).toMatchObject({ failed: true, text: expect.stringContaining('the driver is older than this library wants') as string })
    expect(lost).toMatchObject({ failed: true, text: expect.stringContaining('the device is gone (injected)') as string })
    expect(launch).toMatchObject({ failed: true, text: expect.stringContaining('a kernel failed (injected)') as string })
    expect(full).toMatchObject({ failed: true, text: expect.stringMatching(/no memory for \d+ bytes \(injected\)/) as string })
  })
})
