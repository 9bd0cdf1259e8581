/** Sessions: equal to eager runs bit for bit, classes of inputs, what cannot be recorded, lifetimes. */
import { describe, expect, test } from 'vitest'
import { keep, memory, ops, scope, session, tensor, zeros, type Session, type SessionInputs, type Tensor } from '../../ts/index.js'
import type { Model } from '../../ts/nn/index.js'
import { track } from '../clean-up.js'
import { compressed, dense, floats, ids, type Sample } from './models.js'

const bytes = (data: ArrayBufferView): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

function toTensors(inputs: SessionInputs): any {
  const of = (v: any): Tensor => tensor(v.data, v.shape)
  return 'data' in inputs ? of(inputs) : Object.fromEntries(Object.entries(inputs).map(([k, v]) => [k, of(v)]))
}
const eager = (model: Model, inputs: SessionInputs): Buffer => scope(() => bytes(model.forward(toTensors(inputs)).read()))

async function equalsEager({ model, inputs }: Sample): Promise<Session> {
  track(model)
  const s = track(session(model, { fuse: false }))
  for (const n of [2, 3]) {
    const expected = eager(model, inputs(n))
    expect(bytes(s.runSync(inputs(n)).output!.data).equals(expected)).toBe(true)
    expect(bytes((await s.run(inputs(n))).output!.data).equals(expected)).toBe(true)
  }
  for (const c of s.info().classes) {
    expect(c).toMatchObject({ planned: true, runs: 2 })
    // The first run recorded and planned; the second did not.
    expect(c.firstMs).toBeGreaterThanOrEqual(c.recordMs + c.compileMs)
    expect(c.steadyMs).toBeGreaterThan(0)
  }
  return s
}

describe('a plan gives the bytes of eager runs', () => {
  for (const [name, make] of Object.entries(dense))
    test(name, async () => {
      const s = await equalsEager(make())
      for (const c of s.info().classes) expect(c.arenaBytes).toBeLessThan(c.separateBytes! + 64 * c.steps! * 2)
    })
  for (const [name, make] of Object.entries(compressed)) test(name, async () => void (await equalsEager(await make())))
})

describe('a signal that fires right behind the call', () => {
  const x = { data: Float32Array.of(1, -2, 3), shape: [3] }
  for (const [where, make] of Object.entries({
    'short, computed on the calling thread': () => session((t: Tensor) => ops.relu(t)),
    'not planned': () => session((t: Tensor) => ops.relu(tensor(t.read()))),
  }))
    test(`${where}: ERR_ABORTED, nothing stays; a signal that waits changes nothing`, async () => {
      const s = track(make())
      for (let i = 0; i < 30; i++) await s.run(x) // its usual time is known: it is not handed over
      const before = memory().tensors
      for (const start of ['run', 'runTensors'] as const) {
        const control = new AbortController()
        const late = s[start](x, { signal: control.signal })
        control.abort()
        await expect(late).rejects.toMatchObject({ code: 'ERR_ABORTED' })
        await expect(s[start](x, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
      }
      expect(memory().tensors).toBe(before)
      const { output } = await s.run(x, { signal: new AbortController().signal })
      expect([...output!.data]).toEqual([1, 0, 3])
    })
})

describe('recording', () => {
  const x = { data: Float32Array.of(1, -2, 3), shape: [3] }
  const run = (f: (x: Tensor) => Tensor | Record<string, Tensor>, inputs: SessionInputs = x): Session => {
    const s = track(session(f))
    s.prepare(inputs)
    return s
  }

  test('calls on constants are not repeated, and constants of the run are held', () => {
    const w = track(tensor([1, 2, 3]))
    const s = run((t) => ops.mul(t, ops.exp(ops.add(w, tensor([0.5, 0.5, 0.5])))))
    expect(s.info().classes[0]).toMatchObject({ steps: 1 })
    const expected = scope(() => ops.mul(tensor([4, 5, 6]), ops.exp(ops.add(w, tensor([0.5, 0.5, 0.5])))).read())
    expect(s.runSync({ data: Float32Array.of(4, 5, 6), shape: [3] }).output!.data).toEqual(expected)
  })

  test('views are places in memory: slices, transposes, reshapes, inputs and constants as outputs', () => {
    const w = track(tensor([9, 8]))
    const s = run((t) => {
      const m = ops.reshape(t, [2, 3])
      return { same: t, constant: w, column: ops.slice(m, [0, 1], [2, 1]), turned: ops.transpose(ops.scaleShift(m, 2, 0)), twice: m }
    }, floats(6))
    const { data } = floats(6)
    const out = s.runSync(floats(6))
    expect(out.same!.data).toEqual(data)
    expect(out.twice).toMatchObject({ shape: [2, 3], data })
    expect([...(out.constant!.data as Float32Array)]).toEqual([9, 8])
    expect([...(out.column!.data as Float32Array)]).toEqual([data[1], data[4]])
    expect(out.turned).toMatchObject({ shape: [3, 2], data: Float32Array.of(...[0, 3, 1, 4, 2, 5].map((i) => 2 * data[i]!)) })
  })

  test('elementwise steps write where their input ends, and nowhere else', () => {
    const s = run((t) => {
      const a = ops.scaleShift(t, 2, 1)
      const b = ops.relu(a) // a is still needed
      const c = ops.mul(a, b) // takes a's place or b's
      return ops.add(ops.neg(c), ops.slice(ops.concat([c, c], 0), [1], [3]))
    })
    const a = [3, -3, 7]
    const c = a.map((v) => v * Math.max(v, 0))
    expect([...(s.runSync(x).output!.data as Float32Array)]).toEqual([0, 1, 2].map((i) => -c[i]! + [...c, ...c][i + 1]!))
    expect(s.info().classes[0]!.inPlace).toBeGreaterThan(0)
  })

  test('values that are read in between: eager, and info says why', async () => {
    const s = run((t) => (ops.sum(t, [], false).item() > 0 ? ops.neg(t) : ops.scaleShift(t, 10, 0)))
    expect(s.info().classes[0]).toMatchObject({ planned: false, reason: expect.stringContaining('read in between') as string })
    expect([...(s.runSync(x).output!.data as Float32Array)]).toEqual([-1, 2, -3])
    expect([...((await s.run({ data: Float32Array.of(-1, -2, 0), shape: [3] })).output!.data as Float32Array)]).toEqual([-10, -20, 0])
    expect(() => s.profile(x)).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }))
  })

  test('changes of tensors that outlive the run: eager', () => {
    const count = track(zeros([3]))
    const s = run((t) => {
      ops.axpby(count, t, 1, 1)
      return ops.mul(count, t)
    })
    expect(s.info().classes[0]).toMatchObject({ planned: false, reason: expect.stringContaining('in place') as string })
    s.runSync(x)
    expect([...count.read()]).toEqual([2, -4, 6])
    const into = run((t) => ops.add.into(count, t, t))
    expect(into.info().classes[0]!.planned).toBe(false)
  })

  test('results of the run itself may be written into', () => {
    const s = run((t) => {
      const y = zeros([3])
      ops.add.into(y, t, t)
      ops.mul.into(y, t, t)
      return ops.neg(y)
    })
    expect(s.info().classes[0]!.planned).toBe(true)
    expect([...(s.runSync(x).output!.data as Float32Array)]).toEqual([-1, -4, -9])
  })

  test('an error in the model leaves no recording behind', () => {
    const s = track(session((t: Tensor) => ops.matmul(t, t)))
    expect(() => s.runSync(x)).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
    const other = run((t) => ops.neg(t))
    expect([...(other.runSync(x).output!.data as Float32Array)]).toEqual([-1, 2, -3])
  })

  test('wrong values are found in replays too', async () => {
    const table = track(tensor([[1], [2], [3]]))
    const s = run((t) => ops.gather(table, t), ids(3, 2))
    const wrong = { data: Int32Array.of(0, 7), shape: [2] }
    expect(() => s.runSync(wrong)).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
    await expect(s.run(wrong)).rejects.toMatchObject({ code: 'ERR_SHAPE' })
    expect([...(s.runSync({ data: Int32Array.of(2, 0), shape: [2] }).output!.data as Float32Array)]).toEqual([3, 1])
  })
})

describe('a session', () => {
  const model = (): Model => track(dense.mlp!().model)

  test('keeps a bounded number of classes', () => {
    const s = track(session((t: Tensor) => ops.neg(t), { classes: 2 }))
    for (const n of [1, 2, 1, 3]) s.runSync(floats(n))
    expect(s.info().classes.map((c) => c.inputs)).toEqual(['f32[1]', 'f32[3]'])
    expect(() => session((t: Tensor) => t, { classes: 0 })).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })

  test('overlapping runs do not see each other; inputs are taken when run is called', async () => {
    const m = model()
    const s = track(session(m, { fuse: false }))
    s.prepare(floats(1, 28, 28))
    const input = new Float32Array(784)
    const expected: Buffer[] = []
    const runs: Promise<Record<string, { data: ArrayBufferView }>>[] = []
    for (let i = 0; i < 40; i++) {
      input.fill(i / 40)
      expected.push(eager(m, { data: input, shape: [1, 28, 28] }))
      runs.push(s.run({ data: input, shape: [1, 28, 28] }))
    }
    input.fill(NaN)
    for (const [i, out] of (await Promise.all(runs)).entries()) expect(bytes(out.output!.data).equals(expected[i]!)).toBe(true)
  })

  test('runs shorter than the way to another thread are computed here, but a loop of them lets others have their turn', async () => {
    const s = track(session((t: Tensor) => ops.neg(t)))
    const input = floats(8)
    const expected = s.runSync(input).output!.data
    let turns = 0
    let going = true
    const turn = (): void => {
      turns++
      if (going) setImmediate(turn)
    }
    setImmediate(turn)
    let here = 0
    for (let i = 0; i < 200_000 && (here === 0 || turns < 3); i++) {
      const before = turns
      expect((await s.run(input)).output!.data).toEqual(expected)
      if (turns === before) here++
    }
    going = false
    expect(here).toBeGreaterThan(0)
    expect(turns).toBeGreaterThanOrEqual(3)
    await expect(s.run(input, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    const { output } = await s.runTensors(input)
    expect(track(output!).read()).toEqual(expected)
  })

  test('a loop of short runs lets timers and sockets have their turns, also where copies of inputs take the time', async () => {
    const s = track(session((t: Tensor) => ops.neg(ops.slice(t, [0], [8]))))
    const input = { data: new Float32Array(1 << 22), shape: [1 << 22] } // more than a millisecond to copy
    let turns = 0
    let going = true
    const turn = (): void => {
      turns++
      if (going) setImmediate(turn)
    }
    setImmediate(turn)
    for (let i = 0; i < 40; i++) await s.run(input)
    going = false
    expect(s.info().classes[0]!.planned).toBe(true)
    expect(turns).toBeGreaterThanOrEqual(10)
  })

  test('takes and gives tensors; strided views count by their values', async () => {
    const s = track(session((t: Tensor) => ops.scaleShift(t, 2, 0)))
    const t = track(tensor([[1, 2], [3, 4]])) // prettier-ignore
    const turned = track(ops.transpose(t))
    const y = track(s.runTensorsSync(turned).output!)
    expect([...y.read()]).toEqual([2, 6, 4, 8])
    const z = track((await s.runTensors(t)).output!)
    expect([...z.read()]).toEqual([2, 4, 6, 8])
    expect(s.info().classes).toHaveLength(1)
  })

  test('wrong inputs are typed errors', async () => {
    const s = track(session((t: Tensor) => ops.neg(t)))
    const code = (inputs: unknown): unknown => {
      try {
        s.runSync(inputs as never)
      } catch (e) {
        return (e as { code: string }).code
      }
      return 'none'
    }
    expect(code(3)).toBe('ERR_OPTION')
    expect(code(null)).toBe('ERR_OPTION')
    expect(code({ x: 3 })).toBe('ERR_OPTION')
    expect(code({ data: new Float32Array(3), shape: [4] })).toBe('ERR_SHAPE')
    expect(code({ data: new Float32Array(3), shape: [3, -1] })).toBe('ERR_SHAPE')
    expect(code({ data: new Uint32Array(3), shape: [3] })).toBe('ERR_DTYPE')
    expect(code({ data: new Float32Array(3), shape: [3], dtype: 'f16' })).toBe('ERR_DTYPE')
    const gone = tensor([1])
    gone.dispose()
    expect(code(gone)).toBe('ERR_DISPOSED')
    const moved = new Float32Array(3)
    s.prepare({ data: moved, shape: [3] })
    structuredClone(moved.buffer, { transfer: [moved.buffer] })
    expect(code({ data: moved, shape: [3] })).toBe('ERR_SHAPE') // its length is 0 now
    await expect(s.run(gone)).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  })

  test('disposed during a run: the run ends well, later ones are refused, the model lives', async () => {
    const m = model()
    const s = session(m)
    const input = floats(1, 28, 28)
    s.prepare(input)
    const before = s.runSync(input).output!.data
    const running = s.run(input)
    s.dispose()
    s.dispose()
    expect((await running).output!.data).toEqual(before)
    await expect(s.run(input)).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
    expect(() => s.runSync(input)).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }))
    expect(() => s.info()).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }))
    expect(eager(m, input).length).toBe(40)
  })

  test('weights do not change under it', () => {
    const w = track(tensor([1, 2, 3]))
    const s = session((t: Tensor) => ops.mul(t, w))
    s.prepare(floats(3))
    expect(() => w.write(new Float32Array(3))).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
    expect(() => ops.assign(w, w)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
    s.dispose()
    w.write(new Float32Array(3))
  })

  test('a signal stops runs before and while they wait', async () => {
    const s = track(session((t: Tensor) => ops.matmul(ops.matmul(t, t), t)))
    const input = { data: new Float32Array(384 * 384).fill(0.01), shape: [384, 384] }
    s.prepare(input)
    await expect(s.run(input, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    const control = new AbortController()
    const runs = Array.from({ length: 9 }, () => s.run(input, { signal: control.signal }).then(() => 'done', (e: { code: string }) => e.code)) // prettier-ignore
    control.abort()
    const ends = await Promise.all(runs)
    expect(ends.at(-1)).toBe('ERR_ABORTED')
    expect(new Set(ends).size).toBeLessThanOrEqual(2)
    expect((await s.run(input)).output!.data).toEqual(s.runSync(input).output!.data)
  })

  test('memory: a plateau over runs, and none left behind', async () => {
    const before = memory().bytes
    {
      using s = session((t: Tensor) => ops.matmul(ops.relu(t), t))
      const input = floats(64, 64)
      s.prepare(input)
      for (let i = 0; i < 20; i++) await s.run(input)
      const settled = memory().bytes
      for (let i = 0; i < 200; i++) {
        s.runSync(input)
        if (i % 10 === 0) await Promise.all([s.run(input), s.run(input), s.run(input)])
      }
      expect(memory().bytes).toBeLessThanOrEqual(settled + 2 * s.info().classes[0]!.arenaBytes!)
    }
    expect(memory().bytes).toBeLessThanOrEqual(before)
  })

  test('nested sessions are not recorded', () => {
    const inner = track(session((t: Tensor) => ops.neg(t)))
    const outer = track(session((t: Tensor) => keep(inner.runTensorsSync(t).output!)))
    expect(() => outer.runSync(floats(2))).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
    inner.prepare(floats(2))
    const s = track(session((t: Tensor) => inner.runTensorsSync(t).output!))
    const { data } = floats(2)
    expect([...(s.runSync(floats(2)).output!.data as Float32Array)]).toEqual([...data].map((v) => -v))
    expect(s.info().classes[0]).toMatchObject({ planned: false, reason: expect.stringContaining('another session') as string })
  })
})

describe('profile', () => {
  test('steps by layer with their times, and a trace that Chrome reads', async () => {
    const { model, inputs } = dense['post-norm encoder']!()
    track(model)
    const s = track(session(model))
    const p = s.profile(inputs(2), 3)
    expect(p.runs).toBe(3)
    expect(p.steps.length).toBe(s.info().classes[0]!.steps)
    expect(p.steps.map((q) => q.layer)).toContain('a.attention.output')
    expect(p.steps.reduce((a, q) => a + q.share, 0)).toBeCloseTo(1)
    expect(p.byOp()[0]!.ms).toBeGreaterThan(0)
    expect(p.byLayer().reduce((a, q) => a + q.calls, 0)).toBe(p.steps.length)
    const { traceEvents } = JSON.parse(p.trace()) as { traceEvents: { ph: string; ts: number; dur: number }[] }
    expect(traceEvents.length).toBe(3 * p.steps.length)
    for (const e of traceEvents) expect(e.ph === 'X' && e.ts >= 0 && e.dur >= 0).toBe(true)
    expect(() => s.profile(inputs(2), 0)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })
})
