/** Inputs without labels: which calls come out of files, what calibrates on them, what refuses them. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, inputsOnly, outputError, quantize, recipe, trainTask } from '../../ts/compress/index.js'
import { loadInputs } from '../../ts/data/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { writeNpy, writeNpz } from '../../ts/formats/index.js'
import { modelFromOnnx } from '../../ts/graph/index.js'
import { activation, build, freshValues, linear, Model, QuantizedWeight, sequential } from '../../ts/nn/index.js'
import { errorOf, rejectionOf, tempDir } from '../formats/lib.js'
import { constant, model as onnxModel, node, random, value } from '../graph/build.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const f32 = (shape: readonly number[], values: readonly number[]) => ({
  dtype: 'f32' as const,
  shape,
  data: new Uint8Array(Float32Array.from(values).buffer),
})
const numbers = ({ data }: { readonly data: Uint8Array }): number[] => [...new Float32Array(data.slice().buffer)]
const breathe = (): Promise<void> => Promise.resolve()
const layer = (size: number, out: number) => linear({ in: size, out, bias: true, init: 'he' })
const mlp = (): Model =>
  new Model(build(sequential({ a: layer(4, 8), r: activation({ function: 'relu' }), b: layer(8, 2) }), freshValues(Rng.of(1))), {
    name: 'mlp',
    task: 'regression',
    inputShape: [4],
    history: [],
  })

describe('loadInputs', () => {
  writeNpz(at('two.npz'), [
    ['a', f32([5, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])],
    ['b', f32([5], [10, 11, 12, 13, 14])],
  ])

  it('a file is one call, or calls of some rows of all its arrays', () => {
    const whole = loadInputs(`inputs:${at('two.npz')}`)
    expect([whole.size, whole.samples, whole.call(0).get('a')!.shape]).toEqual([1, 1, [5, 2]])
    const cut = loadInputs(`inputs:${at('two.npz')},rows=2`)
    expect([cut.size, cut.samples]).toEqual([3, 5])
    expect([0, 1, 2].map((i) => [...cut.call(i).values()].map(numbers))).toEqual([
      [
        [0, 1, 2, 3],
        [10, 11],
      ],
      [
        [4, 5, 6, 7],
        [12, 13],
      ],
      [[8, 9], [14]],
    ])
  })

  it('a folder gives its files in the order of their names, and nothing else in it', () => {
    const folder = at('calls')
    fs.mkdirSync(folder)
    writeNpy(path.join(folder, 'b.npy'), f32([1, 2], [3, 4]))
    writeNpy(path.join(folder, 'a.npy'), f32([1, 2], [1, 2]))
    fs.writeFileSync(path.join(folder, 'readme.txt'), 'no array')
    const calls = loadInputs({ format: 'inputs', path: folder })
    expect([0, 1].map((i) => numbers(calls.call(i).get('')!))).toEqual([
      [1, 2],
      [3, 4],
    ])
  })

  it('refuses what is not there, empty, or does not go together', () => {
    fs.mkdirSync(at('empty'))
    writeNpz(at('uneven.npz'), [
      ['a', f32([2], [1, 2])],
      ['b', f32([3], [1, 2, 3])],
    ])
    writeNpz(at('scalar.npz'), [['sr', f32([], [1])]])
    writeNpz(at('none.npz'), [['a', f32([0, 4], [])]])
    const refused = (spec: string): string => {
      const { code, message } = errorOf(() => loadInputs(spec).call(0))
      return `${code} ${message}`
    }
    expect(refused(`inputs:${at('missing.npz')}`)).toMatch(/^ERR_IO .*ENOENT/)
    expect(refused(`inputs:${at('empty')}`)).toMatch(/^ERR_DATA .*no \.npz or \.npy file/)
    expect(refused(`inputs:${at('uneven.npz')},rows=1`)).toMatch(/^ERR_DATA .*2 and 3 samples/)
    expect(refused(`inputs:${at('scalar.npz')},rows=1`)).toMatch(/^ERR_DATA .*sr is a single number/)
    expect(refused(`inputs:${at('none.npz')}`)).toMatch(/^ERR_DATA .*a is empty, \[0, 4\]/)
    const beyond = errorOf(() => loadInputs(`inputs:${at('two.npz')},rows=2`).call(3))
    expect([beyond.code, beyond.message]).toEqual(['ERR_OPTION', expect.stringMatching(/no call 3, they are 0 to 2/)])
    expect(refused(`inputs:${at('two.npz')},rows=0`)).toMatch(/^ERR_OPTION .*"rows" cannot be "0"/)
  })
})

describe('inputsOnly', () => {
  const draw = random(3)
  const x = draw(64 * 4)
  writeNpz(at('x.npz'), [['anything', f32([64, 4], x)]])

  it('calibrates to the same ranges as the same numbers with labels', async () => {
    const { numberDataset } = await import('../../ts/data/index.js')
    const data = numberDataset({ name: 'x', features: Float32Array.from(x), inputShape: [4], labels: new Int32Array(64), classes: ['a'] })
    const steps = recipe([[quantize.static({ calibration: 'minmax' })]])
    const labelled = await compress(mlp(), steps, { data })
    const bare = await compress(mlp(), steps, { task: inputsOnly(loadInputs(`inputs:${at('x.npz')},rows=8`)) })
    const ranges = (m: Model): unknown => m.weights().flatMap(({ weight }) => (weight instanceof QuantizedWeight ? [weight.config()] : []))
    expect(ranges(bare.model)).toHaveLength(2)
    expect(ranges(bare.model)).toEqual(ranges(labelled.model))
    const calls = loadInputs(`inputs:${at('x.npz')},rows=8`)
    const lost = await outputError(mlp(), bare.model, calls, breathe)
    expect(lost).toBeGreaterThan(1e-4)
    expect(lost).toBeLessThan(0.05)
    expect(await outputError(mlp(), mlp(), calls, breathe)).toBe(0)
  })

  it('several inputs go in by name; others, and other dtypes, are refused', async () => {
    const bytes = onnxModel({
      input: [value('left', ['N', 4]), value('right', ['N', 4])],
      output: [value('y', ['N', 3])],
      initializer: [constant('w', [4, 3], draw(12))],
      node: [node('Add', ['left', 'right'], ['s']), node('MatMul', ['s', 'w'], ['y'])],
    })
    const net = modelFromOnnx(parseOnnx(bytes))
    const rows = (name: string, file = name): ReturnType<typeof loadInputs> => {
      writeNpz(at(`${file}.npz`), [
        ['left', f32([8, 4], draw(32))],
        [name, f32([8, 4], draw(32))],
      ])
      return loadInputs(`inputs:${at(`${file}.npz`)},rows=4`)
    }
    const steps = recipe([[quantize.static()]])
    const { model: small } = await compress(net, steps, { task: inputsOnly(rows('right')) })
    expect(small.weights().some(({ weight }) => weight instanceof QuantizedWeight)).toBe(true)
    const wrong = await rejectionOf(() => compress(net, steps, { task: inputsOnly(rows('rigth')) }))
    expect([wrong.code, wrong.message]).toEqual(['ERR_DATA', expect.stringMatching(/takes "left", "right", the file has "left", "rigth"/)])
    writeNpz(at('ints.npz'), [
      ['left', f32([8, 4], draw(32))],
      ['right', { dtype: 'i32', shape: [8, 4], data: new Uint8Array(128) }],
    ])
    const typed = await rejectionOf(() => compress(net, steps, { task: inputsOnly(loadInputs(`inputs:${at('ints.npz')}`)) }))
    expect([typed.code, typed.message]).toEqual(['ERR_DATA', expect.stringMatching(/right is f32, the array is i32/)])
  })

  it('the distance of outputs is that of the output that moved most, and what is no number is not "the same"', async () => {
    const net = (w: readonly number[]): Model =>
      modelFromOnnx(
        parseOnnx(
          onnxModel({
            input: [value('x', ['N', 2])],
            output: [value('y'), value('z')],
            initializer: [constant('w', [2, 2], w)],
            node: [node('Log', ['x'], ['y']), node('MatMul', ['x', 'w'], ['z'])],
          }),
        ),
      )
    const error = async (values: readonly number[]): Promise<number> => {
      writeNpz(at('moved.npz'), [['x', f32([1, 2], values)]])
      return outputError(net([1, 0, 0, 2]), net([1, 0, 0, 3]), loadInputs(`inputs:${at('moved.npz')}`), breathe)
    }
    expect(await error([3, 2])).toBeCloseTo(2 / 5, 6) // z is [3, 4], then [3, 6]
    expect(await error([0, 2])).toBeCloseTo(1 / 2, 6) // y holds -Infinity in both
    expect(await error([NaN, 2])).toBeNaN()
  })

  it('nothing learns from them', async () => {
    const task = inputsOnly(loadInputs(`inputs:${at('x.npz')},rows=8`))
    const error = await rejectionOf(() => trainTask(mlp(), task, { epochs: 1 }))
    expect([error.code, error.message]).toEqual(['ERR_OPTION', expect.stringMatching(/inputs without labels are for calibration/)])
  })
})
