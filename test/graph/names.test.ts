/** Every name of a file is one that objects inherit: tables by names must not find what nobody put there, nor lose what was. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import { isTersorError, load as loadModel, save as saveModel, scope, session, tensor, type Model, type Tensor } from '../../ts/index.js'
import { unpack } from '../../ts/runtime/worker/parcel-data.js'
import { constant, model, node, random, value, type GraphInit, type TensorInit } from './build.js'

const folder = mkdtempSync(path.join(tmpdir(), 'tersor-names-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Two inputs, a layer, a sum, two outputs: y = x W, z = y + other. */
const graph = ([x, other, w, b, y, z, n]: readonly string[], initializer: TensorInit[]): GraphInit => ({
  input: [value(x!, [n!, 64]), value(other!, [n!, 70])],
  output: [value(y!), value(z!)],
  initializer,
  node: [
    { ...node('MatMul', [x!, w!], [`${y}_`]), name: w! },
    { ...node('Add', [`${y}_`, b!], [y!]), name: b! },
    { ...node('Add', [y!, other!], [z!]), name: x! },
  ],
})
const plain = ['x', 'other', 'w', 'b', 'y', 'z', 'n']
const inherited = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'isPrototypeOf', '__defineGetter__']

describe.each([
  ['as they are', inherited],
  ['the other way round', [...inherited].reverse()],
  ['one behind', [...inherited.slice(1), inherited[0]!]],
])('names that objects inherit, %s', (_, names) => {
  const feeds = (of: readonly string[]): Record<string, Tensor> =>
    Object.fromEntries([
      [of[0]!, tensor(Float32Array.from(random(5)(2 * 64)), [2, 64])],
      [of[1]!, tensor(Float32Array.from(random(6)(2 * 70)), [2, 70])],
    ])
  const both = (m: Model, of: readonly string[]): Float32Array[] =>
    scope(() => {
      const out = new Map(Object.entries(m.forwardAll(feeds(of))))
      expect([...out.keys()]).toEqual([of[4], of[5]])
      return [out.get(of[4]!)!, out.get(of[5]!)!].map((t) => t.read() as Float32Array)
    })

  it('load, run, go to files, threads and back', async () => {
    const seed = random(3)
    const values = [seed(64 * 70), seed(70)]
    const file = (of: readonly string[]): Uint8Array => {
      return model(graph(of, [constant(of[2]!, [64, 70], values[0]!), constant(of[3]!, [70], values[1]!)]))
    }
    const usual = modelFromOnnx(parseOnnx(file(plain)))
    const strange = modelFromOnnx(parseOnnx(file(names)))
    const want = both(usual, plain)
    expect(strange.parameters()).toBe(usual.parameters())
    expect(both(strange, names)).toEqual(want)
    const saved = path.join(folder, 'model.safetensors')
    saveModel(strange, saved)
    const again = loadModel(saved)
    expect(both(again, names)).toEqual(want)
    const written = modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(strange))))
    both(written, names).forEach((got, i) => got.forEach((v, k) => expect(Math.abs(v - want[i]![k]!)).toBeLessThan(1e-4)))
    const s = session(strange)
    const out = new Map(Object.entries(await s.run(feeds(names))))
    expect([...out.keys()]).toEqual([names[4], names[5]])
    ;[...out.values()].forEach(({ data }, i) => data.forEach((v, k) => expect(Math.abs(Number(v) - want[i]![k]!)).toBeLessThan(1e-4)))
    s.dispose()
    for (const m of [usual, strange, again, written]) m.dispose()
    expect(Object.keys(Object.prototype)).toEqual([])
  })
})

describe('what goes out to the caller is a plain object', () => {
  const x = { data: Float32Array.of(-1, 2), shape: [2] }
  it.each(['output', ...inherited])('results, one named %s', async (name) => {
    const s = session((t: Tensor) => Object.fromEntries([[name, t]]))
    for (const out of [s.runSync(x), await s.run(x)]) {
      expect(Object.getPrototypeOf(out)).toBe(Object.prototype)
      expect(Object.entries(out).map(([key, { data }]) => [key, ...data])).toEqual([[name, -1, 2]])
    }
    s.dispose()
  })
  it('what a worker unpacks, in every depth', async () => {
    const sent = Object.fromEntries(inherited.map((name) => [name, { [name === '__proto__' ? 'x' : name]: [{ a: 1 }] }]))
    const got = new Map(Object.entries((await unpack(sent)) as typeof sent))
    expect([...got]).toEqual(Object.entries(sent))
    for (const o of [await unpack(sent), got.get('__proto__'), got.get('toString')]) expect(Object.getPrototypeOf(o)).toBe(Object.prototype)
  })
})

describe('attributes whose names objects inherit', () => {
  const run = (init: GraphInit, options?: Parameters<typeof model>[1]): number[] | string =>
    scope(() => {
      try {
        const m = modelFromOnnx(parseOnnx(model(init, options)))
        return Array.from(m.forward(tensor(Float32Array.of(-1, 2), [1, 2])).read() as Float32Array)
      } catch (error) {
        if (!isTersorError(error)) throw error
        return error.code
      }
    })
  it('are no attributes of the operator', () => {
    // An attribute table whose prototype were this one would have an `alpha`.
    const leaky = node('LeakyRelu', ['x'], ['y'])
    leaky.attribute = [{ name: '__proto__', type: 1, f: 0.5 }]
    expect(run({ input: [value('x', [1, 2])], output: [value('y')], node: [leaky] })).toEqual([Math.fround(-0.01), 2])
  })

  it('of a function are found where they are given, and nowhere else', () => {
    const call = (given: readonly string[]): GraphInit => {
      const at = node('F', ['x'], ['y'], { a: 0.25 })
      at.domain = 'own'
      at.attribute = at.attribute!.flatMap((a) => given.map((name) => ({ ...a, name })))
      return { input: [value('x', [1, 2])], output: [value('y')], node: [at] }
    }
    const functions = (wanted: string): Parameters<typeof model>[1] => {
      const inner = node('LeakyRelu', ['a'], ['b'], { alpha: 0.5 })
      inner.attribute = [{ name: 'alpha', refAttrName: wanted, type: 1 }]
      return {
        functions: [{ name: 'F', domain: 'own', input: ['a'], output: ['b'], attribute: [wanted], node: [inner], opsetImport: [{ domain: '', version: 17n }] }], // prettier-ignore
        domains: { own: 1 },
      }
    }
    for (const name of inherited) {
      expect(run(call([]), functions(name)), name).toEqual([Math.fround(-0.01), 2])
      const given = call([name])
      expect(run(given, functions(name)), name).toEqual([-0.25, 2])
    }
  })
})
