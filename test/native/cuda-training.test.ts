/** A training, a session and an evaluation on a device are those of the processor, with no word of the device in between; nothing runs elsewhere. */
import { afterAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset } from '../../ts/data/index.js'
import { classification, evaluate, memory, Model, session, setDefaultDevice, toDevice, trainTask } from '../../ts/index.js'
import { activation, build, freshValues, linear, sequential } from '../../ts/nn/index.js'
import { emulatedDevice, hasEmulated } from './emulated-device.js'

const [samples, width] = [64, 4]
const features = Float32Array.from({ length: samples * width }, (_, i) => Math.sin(Math.floor(i / width) * 1.7 + (i % width)))
const labels = Int32Array.from({ length: samples }, (_, i) => (features[i * width]! > 0 ? 1 : 0))
const data = numberDataset({ name: 'waves', classes: ['down', 'up'], inputShape: [width], features, labels, scale: 1 })

function untrained(): Model {
  const spec = sequential({
    a: linear({ in: width, out: 8, bias: true, init: 'he' }),
    r: activation({ function: 'relu' }),
    b: linear({ in: 8, out: 2, bias: true, init: 'he' }),
  })
  const info = { name: 'net', task: 'classification', classes: data.classes, inputShape: [width], history: [] } as const
  return new Model(build(spec, freshValues(Rng.of(1, 'test'))), info)
}

describe.skipIf(!hasEmulated)('a model on a CUDA device (emulated)', () => {
  afterAll(() => void setDefaultDevice('cpu'))

  it('trains, runs and is evaluated as on the processor', async () => {
    const cuda = emulatedDevice()
    const settings = { epochs: 3, batchSize: 16, optimizer: { kind: 'adamw' }, seed: 1 } as const
    const tensors = memory().tensors
    const here = untrained()
    const there = toDevice(here, 'cuda')
    expect([here.device.name, there.device.name]).toEqual(['cpu', 'cuda:0'])
    const onCpu = await trainTask(here, classification(data, {}), settings)
    setDefaultDevice('cuda')
    const onCuda = await trainTask(there, classification(data, {}), settings)
    setDefaultDevice('cpu')
    expect(onCuda.model.device).toBe(cuda)
    expect(onCuda.epochs.at(-1)!.loss).toBeCloseTo(onCpu.epochs.at(-1)!.loss, 6)
    expect((await evaluate(onCuda.model, data)).accuracy).toBe((await evaluate(onCpu.model, data)).accuracy)
    const input = { data: features.slice(0, 2 * width), shape: [2, width] }
    const [s, t] = [session(onCuda.model), session(onCpu.model, { device: 'cuda' })] // where it lies; moved there
    expect(s.prepare(input)).toMatchObject({ planned: true })
    expect([s.info().device, t.info().device]).toEqual(['cuda:0', 'cuda:0'])
    const want = [...onCpuScores(onCpu.model, input)]
    for (const one of [s, t]) [...(await one.run(input)).output!.data].forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 5))
    expect(cuda.fallback).toBe(false)
    s.dispose()
    t.dispose()
    for (const m of [here, there, onCpu.model, onCuda.model]) m.dispose()
    expect(memory().tensors).toBe(tensors)
  })
})

function onCpuScores(model: Model, input: { readonly data: Float32Array; readonly shape: readonly number[] }): Float32Array {
  const s = session(model)
  const { data: scores } = s.runSync(input).output!
  s.dispose()
  return scores as Float32Array
}
