/** What goes over the border of a device (emulated): gradients, copies of models, errors that come late, waits beside kernels, memory below its budget. */
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset } from '../../ts/data/index.js'
import { constantValue } from '../../ts/graph/executor.js'
import { cached } from '../../ts/graph/onnx/integer-products.js'
import { WorkerJob } from '../../ts/native/worker-job.js'
import { build, freshValues, linear, Model, QuantizedWeight, sequential, toDevice, type Weight } from '../../ts/nn/index.js'
import { saveModel } from '../../ts/models/index.js'
import { callOpAsync, tensorFromPage } from '../../ts/tensor/index.js'
import {
  classification,
  compress,
  hessian,
  onDevice,
  ops,
  quantize,
  recipe,
  scope,
  setDefaultDevice,
  tensor,
  trainTask,
  valueAndGrad,
  zeros,
  type Device,
  type Tensor,
} from '../../ts/index.js'
import { root } from '../../tools/problems.js'
import { code, emulatedDevice, hasEmulated } from './emulated-device.js'


function net(): Model {
  const spec = sequential({ fc: linear({ in: 4, out: 2, bias: true, init: 'he' }) })
  return new Model(build(spec, freshValues(Rng.of(1, 'test'))), { name: 'net', task: 'classification', classes: ['a', 'b'], inputShape: [4], history: [] })
}

it('gradients go through to(), also where the tensor lies there already', () => {
  const w = tensor([3])
  const { value, grads } = valueAndGrad(() => ops.sum(ops.mul(w.to('cpu'), w.to('cpu'))), [w])
  expect(grads[0]!.toArray()).toEqual([6])
  for (const t of [w, value, grads[0]!]) t.dispose()
})

it('toDevice copies a model also onto the device where it lies', () => {
  const model = net()
  const there = toDevice(model, 'cpu')
  const [of, copy] = [model, there].map((m) => m.leaves().get('fc.weight')!.value)
  const before = of!.read()
  copy!.write(new Float32Array(8))
  expect(of!.read()).toEqual(before)
  model.dispose()
  there.dispose()
})

describe.skipIf(!hasEmulated)('a CUDA device (emulated)', () => {
  let cuda: Device
  let held = 0
  beforeAll(() => {
    cuda = emulatedDevice()
    scope(() => void ops.gather(tensor([1]).to(cuda), tensor(new Int32Array([0])).to(cuda)).read()) // the first index to check takes a block for good
    held = cuda.memory().blocks
  })
  afterEach(() => {
    setDefaultDevice('cpu')
    cuda.setMemoryBudget(0)
    const left = cuda.memory().blocks - held
    held += left
    expect(left, 'blocks on the device that nobody released').toBe(0)
  })

  it('gradients go over the border, both ways', () => {
    const w = tensor([3])
    const unused = tensor([1]).to(cuda)
    const { value, grads } = valueAndGrad(() => ops.sum(ops.mul(w.to(cuda), w.to(cuda))), [w, unused])
    expect([value.device, ...grads.map((g) => g.device)]).toEqual([cuda, cpuOf(w), cuda])
    expect(grads.map((g) => g.toArray())).toEqual([[6], [0]])
    for (const t of [w, unused, value, ...grads]) t.dispose()
  })

  it('says how much memory is in use also where the budget is below it', () => {
    const t = zeros([1000]).to(cuda)
    cuda.setMemoryBudget(100)
    expect(cuda.memory()).toMatchObject({ budgetBytes: 100 })
    expect(() => scope(() => zeros([1]).to(cuda))).toThrow(code('ERR_MEMORY_BUDGET'))
    t.dispose()
  })

  it('a wrong index that shows while a lent tensor is given back is the error of the next call', () => {
    const job = WorkerJob.open()
    const lent = tensor([[1, 2], [3, 4]]).to(cuda) // prettier-ignore
    const index = tensor(new Int32Array([5])).to(cuda)
    const taken = tensorFromPage(job.take(job.lend(lent)))
    scope(() => void ops.gather(taken, index))
    taken.dispose()
    expect(() => lent.read()).toThrow(code('ERR_SHAPE', 'gather'))
    expect(lent.toArray()).toEqual([[1, 2], [3, 4]]) // prettier-ignore
    job.close()
    lent.dispose()
    index.dispose()
  })

  it('waits of asynchronous calls run beside kernels that have indices to check', async () => {
    const table = tensor([[1], [2], [3]]).to(cuda)
    const index = tensor(new Int32Array([2, 0, 1])).to(cuda)
    const pending = Array.from({ length: 100 }, () => callOpAsync('gather', [table, index]))
    for (let i = 0; i < 100; i++) scope(() => void ops.gather(table, index))
    for (const [y] of await Promise.all(pending)) {
      expect(y!.toArray()).toEqual([[3], [1], [2]])
      y!.dispose()
    }
    cuda.synchronize()
    table.dispose()
    index.dispose()
  })

  it('moves weights whose scales stand once for several rows, and saves them where they lie', () => {
    const q = tensor(Int8Array.from([1, -2, 3, 4, -5, 6, 7, -7]), [2, 4])
    const rows: Weight = new QuantizedWeight({ shape: [2, 4], q, scale: tensor([[0.5], [0.5]]), bits: 4, layout: 'rows', rowsPerScale: 2 })
    const plain = net()
    const model = plain.withWeights(new Map([['fc.weight', rows]]))
    const there = toDevice(model, cuda)
    const back = toDevice(there, 'cpu')
    expect(there.device).toBe(cuda)
    const dense = (m: Model): unknown => scope(() => m.weights().find((w) => w.path === 'fc.weight')!.weight.dense().toArray())
    expect(dense(back)).toEqual(dense(model))
    const path = join(root, 'build', `seam-${process.pid}.safetensors`)
    expect(saveModel(there, path)).toBe(saveModel(model, path))
    for (const m of [there, back, model, plain]) m.dispose()
  })

  it('trains and compresses no model elsewhere than it lies', async () => {
    const model = net()
    const there = toDevice(model, cuda)
    const data = numberDataset({ name: 'd', classes: ['a', 'b'], inputShape: [4], features: new Float32Array(8), labels: new Int32Array([0, 1]), scale: 1 })
    await expect(trainTask(there, classification(data, {}), { epochs: 1, batchSize: 2 })).rejects.toEqual(code('ERR_DEVICE', "setDefaultDevice('cuda:0') first"))
    await expect(compress(there, recipe([[quantize.rtn({ bits: 4 })]]))).rejects.toEqual(code('ERR_DEVICE', 'net lies on cuda:0'))
    model.dispose()
    there.dispose()
  })

  it('packs constants of imported graphs once on each device', () => {
    const constant = constantValue({ dtype: 'i8', shape: [1], read: () => new Uint8Array([1]) })
    const pack = (): Device => cached(constant, 'test', () => ({ packed: tensor([1]), shift: 0, out: 1 })).packed.device
    const first = cached(constant, 'test', () => ({ packed: tensor([1]), shift: 0, out: 1 })).packed
    expect(pack()).toBe(first.device)
    expect(onDevice(cuda, pack)).toBe(cuda)
    const second = onDevice(cuda, () => cached(constant, 'test', () => ({ packed: tensor([1]), shift: 0, out: 1 }))).packed
    first.dispose()
    second.dispose()
  })

  it('power iteration goes on where a product lies in the span of what was found', async () => {
    const rows = tensor([[2, 1e-3, 0], [0, 0, 0], [0, 0, 0]]).to(cuda) // prettier-ignore
    const operator = {
      size: 3,
      dtype: 'f32' as const,
      device: cuda,
      parts: [{ name: 'd', shape: [3], size: 3, offset: 0 }],
      apply: (v: Tensor, out: Tensor) => {
        scope(() => ops.axpby(out, ops.reshape(ops.matmul(rows, ops.reshape(v, [3, 1])), [3]), 1, 0))
        return Promise.resolve()
      },
    }
    const { pairs } = await hessian.powerIteration(operator, { top: 3, maxIterations: 20 })
    rows.dispose()
    for (const { vector } of pairs) vector.dispose()
    expect(pairs[0]!.value).toBeCloseTo(2, 2)
    for (const { value } of pairs.slice(1)) expect(Math.abs(value)).toBeLessThan(1e-2)
  })
})

const cpuOf = (t: { readonly device: Device }): Device => t.device
