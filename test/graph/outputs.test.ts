/** Models with several outputs: all of them from predictAll, from sessions, from the file that is written of them. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { load, memory, saveOnnx, session, tensor } from '../../ts/index.js'
import { tempDir } from '../formats/lib.js'
import { constant, model as onnxModel, node, oracle, ort, value, type GraphInit } from './build.js'

/** A hidden layer, the state of the next step (the input moved on), an input handed through, sizes, and one value under two names. */
const graph: GraphInit = {
  node: [
    node('MatMul', ['x', 'w'], ['product']),
    node('Relu', ['product'], ['hidden']),
    node('Identity', ['hidden'], ['again']),
    node('Add', ['state', 'x'], ['next']),
    node('Shape', ['x'], ['sizes']),
    node('SequenceConstruct', ['x', 'hidden'], ['list']),
  ],
  initializer: [constant('w', [2, 2], [1, -1, 0.5, 2])],
  input: [value('x', ['batch', 2]), value('state', ['batch', 2])],
  output: [value('hidden'), value('again'), value('next'), value('sizes', undefined, 'i64')],
}
const x = { data: Float32Array.of(1, 2, -3, 4, 5, -6), shape: [3, 2] }
const state = { data: Float32Array.of(1, 1, 1, 2, 2, 2), shape: [3, 2] }
const want = {
  hidden: [2, 3, 0, 11, 2, 0],
  again: [2, 3, 0, 11, 2, 0],
  next: [2, 3, -2, 6, 7, -4],
  sizes: [3, 2],
}
function file(of: GraphInit = graph): string {
  const name = path.join(tempDir(), 'm.onnx')
  writeFileSync(name, onnxModel(of))
  return name
}
const plain = (out: Readonly<Record<string, { readonly data: ArrayLike<number | bigint> }>>) =>
  Object.fromEntries(Object.entries(out).map(([name, { data }]) => [name, Array.from(data, Number)]))

describe('models with several outputs', () => {
  it('give all of them by name', () => {
    const model = load(file())
    const out = model.predictAll({ x: tensor(x.data, x.shape), state: tensor(state.data, state.shape) })
    expect(Object.fromEntries(Object.entries(out).map(([name, t]) => [name, Array.from(t.read() as Float32Array, Number)]))).toEqual(want)
    expect(out.sizes!.dtype).toBe('i64')
    for (const t of new Set(Object.values(out))) t.dispose()
    model.dispose()
  })

  it('do so in sessions, planned, over many runs and tensors of their own', async () => {
    const s = session(file())
    for (let i = 0; i < 3; i++) {
      expect(plain(s.runSync({ x, state }))).toEqual(want)
      expect(plain(await s.run({ x, state }))).toEqual(want)
    }
    const other = { data: Float32Array.of(0, 3), shape: [1, 2] }
    expect(plain(s.runSync({ x: other, state: other }))).toEqual({ hidden: [1.5, 6], again: [1.5, 6], next: [0, 6], sizes: [1, 2] })
    expect(s.info().classes.map((c) => c.planned)).toEqual([true, true])
    const live = memory().tensors
    const tensors = s.runTensorsSync({ x, state })
    expect(Object.keys(tensors)).toEqual(Object.keys(want))
    for (const t of Object.values(tensors)) t.dispose()
    expect(memory().tensors).toBe(live)
    s.dispose()
  })

  it('say so when an output is a list: it is left out', () => {
    const s = session(file({ ...graph, output: [...graph.output!, value('list')] }))
    expect(plain(s.runSync({ x, state }))).toEqual(want)
    s.dispose()
  })

  it.skipIf(!ort)('are written with all of them, and every one is compared', async () => {
    const model = load(file())
    const out = path.join(tempDir(), 'written.onnx')
    const example = { x: tensor(x.data, x.shape), state: tensor(state.data, state.shape) }
    const { check } = await saveOnnx(model, out, { example, onnxruntime: ort as never })
    expect(check!.difference).toBe(0)
    const got = await oracle(readFileSync(out), {
      x: { type: 'float32', data: x.data, dims: x.shape },
      state: { type: 'float32', data: state.data, dims: state.shape },
    })
    expect(plain(got)).toEqual(want)
    model.dispose()
  })
})
