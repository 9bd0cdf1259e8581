/**
 * Tensors, calls, gradients, plans and jobs on a device: the emulated CUDA library (TERSOR_CUDA_EMULATE=ON), one device on this processor. It stays loaded
 * in this process; nothing else in it uses a device.
 */
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addon } from '../../ts/native/call.js'
import { callOpAsync } from '../../ts/tensor/index.js'
import {
  cpu,
  device,
  deviceLibrary,
  devices,
  memory,
  onDevice,
  ops,
  scope,
  session,
  setDefaultDevice,
  tensor,
  type Tensor,
  valueAndGrad,
  zeros,
  type Device,
} from '../../ts/index.js'
import { code, emulatedDevice, hasEmulated } from './emulated-device.js'


describe.skipIf(!hasEmulated)('a CUDA device (emulated)', () => {
  let cuda: Device
  let held = 0
  beforeAll(() => {
    cuda = emulatedDevice()
    held = cuda.memory().blocks
  })
  afterEach(() => {
    setDefaultDevice('cpu')
    device('cuda', { fallback: false })
    cuda.setMemoryBudget(0)
    const left = cuda.memory().blocks - held
    held += left
    expect(left, 'blocks on the device that nobody released').toBe(0)
  })

  it('is found once and says what it is', () => {
    expect(device('cuda:0')).toBe(cuda)
    expect(devices()).toContain(cuda)
    expect(cuda.info()).toMatchObject({ name: expect.any(String) as string, sm: expect.any(Number) as number })
    expect(deviceLibrary()!.rows.length).toBeGreaterThan(0)
    expect(device('auto')).toBe(cuda)
    expect(() => device('cuda:7')).toThrow(code('ERR_DEVICE', 'cuda:7 does not exist'))
  })

  it('holds tensors: there, back, views, writes, fresh ones in a scope', () => {
    scope(() => {
      const here = tensor([[1, 2, 3], [4, 5, 6]]) // prettier-ignore
      const there = here.to('cuda')
      expect([here.device, there.device]).toEqual([cpu, cuda])
      expect(there.toArray()).toEqual(here.toArray())
      expect(there.to('cpu').device).toBe(cpu)
      expect(ops.transpose(there).device).toBe(cuda)
      expect(ops.transpose(here).to(cuda).toArray()).toEqual([[1, 4], [2, 5], [3, 6]]) // prettier-ignore
      there.write(new Float32Array([6, 5, 4, 3, 2, 1]))
      expect(there.read()).toEqual(new Float32Array([6, 5, 4, 3, 2, 1]))
      expect(here.read()[0]).toBe(1)
      const same = there.to(cuda) // a second handle
      same.dispose()
      expect(there.read()[0]).toBe(6)
      const made = onDevice('cuda', () => [zeros([2]), tensor(new Int32Array([7, 8])), zeros([0, 3])] as const)
      expect(made.map((t) => t.device)).toEqual([cuda, cuda, cuda])
      expect(made.map((t) => [...t.read()])).toEqual([[0, 0], [7, 8], []])
      expect(zeros([2]).device).toBe(cpu)
    })
  })

  it('computes where the tensors lie, and nowhere else', () => {
    scope(() => {
      const [a, b] = [tensor([1, 2]).to(cuda), tensor([10, 20]).to(cuda)]
      const y = ops.add(a, b)
      expect(y.device).toBe(cuda)
      expect(y.toArray()).toEqual([11, 22])
      expect(() => ops.add(a, tensor([1, 1]))).toThrow(code('ERR_DEVICE', 'add: a lies on cuda:0 and b on cpu'))
      expect(() => ops.add(tensor([1, 1]), a)).toThrow(code('ERR_DEVICE', 'add: a lies on cpu and b on cuda:0'))
      expect(() => ops.add.into(zeros([2]), a, b)).toThrow(code('ERR_DEVICE', 'y on cpu'))
      expect(ops.add.into(zeros([2]).to(cuda), a, b).toArray()).toEqual([11, 22])
      // Inside a scope of the device, tensors of the processor stay there.
      expect(onDevice(cuda, () => ops.add(tensor([1]).to('cpu'), tensor([2]).to('cpu')).device)).toBe(cpu)
      expect(() => ops.add(a, zeros([3]).to(cuda))).toThrow(code('ERR_SHAPE'))
      expect(() => ops.add(a, zeros([2], 'f64').to(cuda))).toThrow(code('ERR_DTYPE'))
    })
  })

  it('says which kernel is missing, or computes on the processor and counts', () => {
    scope(() => {
      const code8 = tensor(new Int8Array(64), [4, 16]).to(cuda) // entropy coding is the processor's
      expect(() => ops.sparseEncode(code8)).toThrow(code('ERR_UNSUPPORTED', 'sparse_encode(i8) has no kernel on cuda:0'))
      const before = cuda.fallbacks().sparse_encode ?? 0
      expect(device('cuda', { fallback: true }).fallback).toBe(true)
      const packed = ops.sparseEncode(code8) // sized by its values
      expect(packed.device).toBe(cuda)
      expect(packed.toArray()).toEqual(ops.sparseEncode(tensor(new Int8Array(64), [4, 16])).toArray())
      expect(cuda.fallbacks().sparse_encode).toBe(before + 1)
      device('cuda', { fallback: false })
      expect(() => ops.sparseEncode(code8)).toThrow(code('ERR_UNSUPPORTED'))
    })
  })

  it('runs calls asynchronously', async () => {
    const [a, b] = [tensor([1, 2]).to(cuda), tensor([3, 4]).to(cuda)]
    const pending = callOpAsync('add', [a, b])
    a.dispose()
    b.dispose()
    const [y] = await pending
    expect([y!.device, y!.toArray()]).toEqual([cuda, [4, 6]])
    y!.dispose()
    const mixed = tensor([1]).to(cuda)
    const one = tensor([1])
    await expect(callOpAsync('add', [mixed, one])).rejects.toEqual(code('ERR_DEVICE'))
    mixed.dispose()
    one.dispose()
  })

  it('counts memory and keeps to its budget', () => {
    const before = cuda.memory()
    const held = memory().tensorBytes
    const t = zeros([1000]).to(cuda)
    expect(cuda.memory().bytes - before.bytes).toBeGreaterThanOrEqual(4000)
    cuda.resetPeakMemory()
    expect(cuda.memory().peakBytes).toBe(cuda.memory().bytes)
    cuda.setMemoryBudget(cuda.memory().bytes + 1000)
    expect(() => scope(() => zeros([10000]).to(cuda))).toThrow(code('ERR_MEMORY_BUDGET'))
    expect(() => onDevice(cuda, () => zeros([10000]))).toThrow(code('ERR_MEMORY_BUDGET', 'create'))
    expect(t.read()).toHaveLength(1000) // goes on
    t.dispose()
    expect(memory().tensorBytes).toBeLessThanOrEqual(held + 4000)
    cuda.trimMemory()
    expect(cuda.memory().cachedBytes).toBe(0)
  })

  it('refuses an allocation that fails, and goes on', () => {
    expect(addon().deviceInject(cuda.id, 0, 1)).toBe(0)
    expect(() => scope(() => tensor([1, 2]).to(cuda))).toThrow(code('ERR_MEMORY_BUDGET', 'to:'))
    scope(() => expect(ops.add(tensor([1]).to(cuda), tensor([2]).to(cuda)).toArray()).toEqual([3]))
  })

  it('takes gradients, and makes their constants there', () => {
    const w = tensor([3]).to(cuda)
    const x = tensor([5]).to(cuda)
    const { value, grads } = valueAndGrad(() => ops.mul(w, ops.add(x, tensor([1]))), [w])
    expect([value.device, grads[0]!.device]).toEqual([cuda, cuda])
    expect([value.item(), grads[0]!.item()]).toEqual([18, 6])
    for (const t of [w, x, value, ...grads]) t.dispose()
  })

  it('records a plan and replays it', async () => {
    const weights = tensor([1, 10, 100]).to(cuda)
    const s = session((x: Tensor) => ops.add(ops.mul(x, weights), weights), { device: 'cuda' })
    const input = { data: new Float32Array([1, 2, 3]), shape: [3] }
    expect(s.prepare(input)).toMatchObject({ planned: true, steps: 2 })
    expect(s.info().device).toBe('cuda:0')
    expect([...s.runSync(input).output!.data]).toEqual([2, 30, 400])
    expect([...(await s.run({ data: new Float32Array([0, 0, 1]), shape: [3] })).output!.data]).toEqual([1, 10, 200])
    const { output } = await s.runTensors(scope(() => tensor([5, 5, 5]))) // from the processor
    expect([output!.device, output!.toArray()]).toEqual([cuda, [6, 60, 600]])
    output!.dispose()
    expect(() => weights.write(new Float32Array(3))).toThrow(code('ERR_BUSY'))
    expect(s.profile(input, 2)).toBeDefined()
    s.dispose()
    weights.dispose()
  })

  it('moves between devices', () => {
    scope(() => {
      const other = device('cuda:1')
      const t = tensor([1, 2]).to(cuda).to(other)
      expect([t.device, t.toArray()]).toEqual([other, [1, 2]])
      expect(() => ops.add(t, t.to(cuda))).toThrow(code('ERR_DEVICE', 'a lies on cuda:1 and b on cuda:0'))
    })
  })

  const KERNEL = 1
  const LOST = 2
  it.each([
    ['a kernel that faults', KERNEL, 'cuda:1'],
    ['a device that is lost', LOST, 'cuda:2'],
  ] as const)('fails for good after %s, and nothing else does', (_, fault, name) => {
    const failing = device(name)
    const t = tensor([1, 2]).to(failing)
    expect(addon().deviceInject(failing.id, fault, 1)).toBe(0)
    const fails = (): unknown => scope(() => [ops.add(t, t).read(), failing.synchronize()])
    for (const call of [fails, fails, () => failing.synchronize(), () => t.read(), () => tensor([1]).to(failing), () => onDevice(failing, () => zeros([1]))])
      expect(() => scope(call)).toThrow(code('ERR_DEVICE'))
    t.dispose()
    scope(() => {
      expect(ops.add(tensor([1]), tensor([2])).toArray()).toEqual([3])
      expect(ops.add(tensor([1]).to(cuda), tensor([2]).to(cuda)).toArray()).toEqual([3])
    })
  })
})
