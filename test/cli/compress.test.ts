/** `tersor compress` from start to end: presets, recipe files, reports. */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { compress, parseRecipe, presets, type CompressReport } from '../../ts/compress/index.js'
import { loadData } from '../../ts/data/index.js'
import type { RawTensor } from '../../ts/base/dtype.js'
import { writeNpz } from '../../ts/formats/index.js'
import { readOnnx } from '../../ts/formats/onnx/index.js'
import { loadModel, saveModel } from '../../ts/models/file.js'
import { architectures } from '../../ts/models/index.js'
import type { Variant } from '../../ts/report/index.js'
import { bitsOf } from '../compress/toys.js'
import { filesIn } from '../formats/lib.js'
import { constant, model as onnxModel, node, random, value } from '../graph/build.js'
import { json, succeeds, tempDir, tersor, writeFlowers, writeImages } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const images = writeImages(at('images'), { train: 160, test: 80 })
const held = `${images},split=test`
const lenet = at('lenet5.safetensors')

interface Compressed {
  readonly file: string
  readonly bytesBefore: number
  readonly bytes: number
  readonly variants: readonly Variant[]
  readonly report: CompressReport
}

beforeAll(async () => {
  const training = ['--epochs', '3', '--batch', '16', '--lr', '0.03', '--snapshots', '0,1,2,3']
  await succeeds(['train', 'lenet5', '--data', images, '--out', lenet, ...training])
})

describe.concurrent('presets', () => {
  const expected: Readonly<Record<string, { ratio: number; kinds: RegExp }>> = {
    'int8-static': { ratio: 3, kinds: /^int8 per channel, u8 input$/ },
    'int8-auto': { ratio: 3, kinds: /^int8 per channel, u8 input$/ },
    'int8-weights': { ratio: 3, kinds: /^int8 per channel$/ },
    'int4-group': { ratio: 4.5, kinds: /^int4 g\d+/ },
    'int-mixed': { ratio: 4.5, kinds: /int\d/ },
    'int8-qat': { ratio: 3, kinds: /int8/ },
    'int4-qat': { ratio: 4.5, kinds: /int4/ },
    'dual-module': { ratio: 0.7, kinds: /dual/ },
    'sparse-2of4': { ratio: 1.6, kinds: /2:4/ },
    'prune50-int8': { ratio: 4, kinds: /sparse/ },
    filters50: { ratio: 1.5, kinds: /f32/ },
    'filters50-int8': { ratio: 5, kinds: /int8/ },
    'heads30-rows30': { ratio: 1.2, kinds: /f32/ },
    'prune-lr-rewind-int8': { ratio: 8, kinds: /sparse/ },
    'prune-weight-rewind-int8': { ratio: 8, kinds: /sparse/ },
    'prune-finetune-int8': { ratio: 8, kinds: /sparse/ },
    'prune90-distill-int8': { ratio: 8, kinds: /sparse/ },
  }
  it('all are tried here', () => expect(Object.keys(presets)).toEqual(Object.keys(expected)))

  it('calibrates a graph on inputs without labels, and says how far the output moved', async () => {
    const draw = random(2)
    const graph = at('scores.onnx')
    const weights = [constant('w', [3, 4], draw(12)), constant('v', [4, 2], draw(8))]
    const nodes = [node('MatMul', ['s', 'w'], ['h']), node('Relu', ['h'], ['r']), node('MatMul', ['r', 'v'], ['y'])]
    fs.writeFileSync(
      graph,
      onnxModel({
        input: [value('a', ['N', 3]), value('b', ['N', 3])],
        output: [value('y', ['N', 2])],
        initializer: weights,
        node: [node('Add', ['a', 'b'], ['s']), ...nodes],
      }),
    )
    const rows = (n: number): RawTensor => ({ dtype: 'f32', shape: [n, 3], data: new Uint8Array(Float32Array.from(draw(3 * n)).buffer) })
    for (const [name, n] of [
      ['frames', 200],
      ['held', 20],
    ] as const)
      writeNpz(at(`${name}.npz`), [
        ['a', rows(n)],
        ['b', rows(n)],
      ])
    const args = ['compress', graph, '--recipe', 'int8-static', '--data', `inputs:${at('frames.npz')}`, '--out', at('scores.int8.onnx')]
    const out = await json<{ before: { value: number }; after: { metric: string; value: number; n: number } }>([
      ...args,
      ...['--validation', `inputs:${at('held.npz')}`],
    ])
    expect([out.before.value, out.after.metric, out.after.n]).toEqual([0, 'output error', 20])
    expect(out.after.value).toBeGreaterThan(1e-4)
    expect(out.after.value).toBeLessThan(0.05)
    const mixed = await tersor([...args, '--validation', `npz:${at('held.npz')}`])
    expect(mixed.stderr).toMatch(/ERR_OPTION: compress: --data and --validation are both inputs without labels/)
  })

  it('learns from a teacher while it prunes, and evaluate says how loyal the result is', async () => {
    const recipe = at('kd.json')
    const distill = { temperature: 4, match: [{ loss: 'hidden', layers: [['fc1', 'fc1']] }] }
    const options = { sparsity: 0.9, retrain: { kind: 'finetune', epochs: 1, lr: 0.02 }, distill }
    fs.writeFileSync(recipe, JSON.stringify({ recipe: 1, stages: [[{ pass: 'prune/magnitude', options }]] }))
    const out = at('kd.safetensors')
    const made = await json<Compressed>(['compress', lenet, '--recipe', recipe, '--data', images, '--teacher', lenet, '--out', out])
    expect(made.report.passes[0]!.options).toMatchObject({ distill: { convention: 'distilbert', temperature: 4, cache: 'auto' } })
    type Loyal = { readonly loyalty: { readonly label: number; readonly probability: number } }
    const found = await json<Loyal>(['evaluate', out, '--data', held, '--teacher', lenet])
    expect(found.loyalty.label).toBeGreaterThan(0.8)
    expect(found.loyalty.probability).toBeGreaterThan(0.7)
    expect(found.loyalty.probability).toBeLessThan(1)
    expect((await json<Loyal>(['evaluate', lenet, '--data', held, '--teacher', lenet])).loyalty).toEqual({ label: 1, probability: 1 })
    const needless = await tersor(['compress', lenet, '--recipe', 'int8-weights', '--teacher', lenet, '--out', out])
    expect(needless.code).not.toBe(0)
    expect(needless.stderr).toContain('this one has none')
    const spec = architectures.mlp({ inputShape: [1, 28, 28], classes: 4 }).spec
    const other = { student: { spec }, epochs: 1 }
    fs.writeFileSync(recipe, JSON.stringify({ recipe: 1, stages: [[{ pass: 'distill/train', options: other }]] }))
    await succeeds(['compress', lenet, '--recipe', recipe, '--data', images, '--teacher', lenet, '--out', at('student.safetensors')])
  })

  it('writes ONNX files by their name, with the sizes of a model with integer inputs', async () => {
    const out = at('small.onnx')
    const result = await json<Compressed>(['compress', lenet, '--recipe', 'int8-static', '--data', images, '--out', out])
    expect(result.bytes).toBe(fs.statSync(out).size)
    expect(result.bytesBefore / result.bytes).toBeGreaterThan(3)
    const { graph } = readOnnx(out)
    expect(graph.inputs[0]).toMatchObject({ name: 'x', shape: ['batch', 1, 28, 28] })
    expect(graph.nodes.some((n) => n.op === 'QuantizeLinear')).toBe(true)
    expect(() => saveModel(loadModel(lenet), out)).toThrow(/saveOnnx writes ONNX files/)
  })

  it.each(Object.keys(expected))('%s: smaller file, same answers, the same bits as in a program', async (name) => {
    const out = at(`${name}.safetensors`)
    const result = await json<Compressed>(['compress', lenet, '--recipe', name, '--data', images, '--validation', held, '--out', out])
    expect(result.file).toBe(out)
    expect(result.bytes).toBe(fs.statSync(out).size)
    expect(result.bytesBefore).toBe(fs.statSync(lenet).size)
    expect(result.bytesBefore / result.bytes).toBeGreaterThan(expected[name]!.ratio)
    const [before, after] = result.variants
    expect(before).toMatchObject({ name: 'before', ratio: 1, n: 80 })
    expect(after!.value).toBeGreaterThan(0.9)
    expect(after!.agreement).toBeGreaterThan(0.9)
    expect(after!.ratio).toBe(result.bytesBefore / result.bytes)
    const fc1 = result.report.layers.find((l) => l.path === 'fc1.weight')!
    expect(fc1.after.description).toMatch(expected[name]!.kinds)
    expect(filesIn(dir)).not.toContain(`${name}.safetensors.checkpoint`)
    if (presets[name]!.needs === 'training') return // minutes of the same in this process would prove nothing new
    const model = loadModel(lenet)
    const own = await compress(model, presets[name]!.recipe, { data: await loadData(images, { classes: model.info.classes! }) })
    const loaded = loadModel(out)
    expect(bitsOf(loaded) === bitsOf(own.model)).toBe(true)
    for (const m of [loaded, own.model, model]) m.dispose()
  })
})

describe.concurrent('recipe files', () => {
  it.each(['int8-static', 'int4-group', 'prune-weight-rewind-int8'])(
    '--print-recipe of %s is its recipe, and a file of it does the same',
    async (name) => {
      const { stdout, stderr } = await succeeds(['compress', lenet, '--recipe', name, '--print-recipe'])
      expect(stderr).toBe('')
      expect(parseRecipe(stdout)).toEqual(presets[name]!.recipe)
      if (name !== 'int4-group') return
      const file = at('my-recipe.json')
      fs.writeFileSync(file, stdout)
      expect((await succeeds(['compress', lenet, '--recipe', file, '--print-recipe'])).stdout).toBe(stdout)
      await Promise.all([
        succeeds(['compress', lenet, '--recipe', file, '--out', at('by-file')]),
        succeeds(['compress', lenet, '--recipe', name, '--out', at('by-name')]),
      ])
      expect(fs.readFileSync(at('by-file')).equals(fs.readFileSync(at('by-name')))).toBe(true)
    },
  )

  it('targets, seeds and several passes', async () => {
    const file = at('own.json')
    const stages = [
      [{ pass: 'prune/magnitude', options: { sparsity: 0.75 }, targets: ['fc*.weight'], ignore: ['fc3.*'] }],
      [
        { pass: 'quantize/rtn', options: { bits: 6 }, targets: ['@kernel'] },
        { pass: 'sparsify/csr', targets: ['@matrix'] },
      ],
    ]
    fs.writeFileSync(file, JSON.stringify({ recipe: 1, seed: 9, name: 'mine', stages }))
    const result = await json<Compressed>(['compress', lenet, '--recipe', file, '--out', at('own.safetensors')])
    expect(result.report.seed).toBe(9)
    expect(result.variants).toEqual([])
    expect(Object.fromEntries(result.report.layers.map((l) => [l.path, l.after.kind]))).toMatchObject({
      'conv1.weight': 'quantized',
      'conv2.weight': 'quantized',
      'fc1.weight': 'sparse',
      'fc2.weight': 'sparse',
      'fc3.weight': 'dense',
      'fc1.bias': 'dense',
    })
  })
})

describe.concurrent('--report', () => {
  it('writes a page about this model, this recipe, these data', async () => {
    const page = at('report.html')
    const args = [
      'compress',
      lenet,
      '--recipe',
      'int8-static',
      '--data',
      images,
      '--validation',
      held,
      '--out',
      at('reported'),
      '--report',
      page,
    ]
    const { stdout } = await succeeds(args)
    expect(stdout).toMatch(/^accuracy [\d.]+ % -> [\d.]+ % \(n = 80\), agreement [\d.]+ %$/m)
    expect(stdout).toContain(`report: ${page}`)
    const html = fs.readFileSync(page, 'utf8')
    for (const part of [
      'Compression of lenet5',
      'conv1.<wbr>weight',
      'int8 per channel, u8 input',
      'quantize/static-int8',
      '95 % intervals',
      '<svg',
    ])
      expect(html).toContain(part)
    expect(html).not.toMatch(/<script|NaN|undefined/)
  })

  it('without held-out data: sizes and layers only', async () => {
    const page = at('sizes.html')
    await succeeds(['compress', lenet, '--recipe', 'int8-weights', '--out', at('sized'), '--report', page])
    const html = fs.readFileSync(page, 'utf8')
    expect(html).toContain('fc1.<wbr>weight')
    expect(html).not.toContain('95 % interval')
  })
})

it.concurrent('what is missing is said before the work, and nothing is written', async () => {
  const flowers = writeFlowers(at('flowers.csv'), 30)
  const tries: readonly (readonly [string[], number, RegExp])[] = [
    [['--recipe', 'int8-static'], 2, /quantize\/static-int8: needs data for calibration/],
    [['--recipe', 'prune-finetune-int8'], 2, /prune\/magnitude: needs data to train on/],
    [['--recipe', 'int8-weights', '--validation', flowers], 1, /ERR_DATA/],
    [['--recipe', 'int8-static', '--max-drop', '1'], 2, /--max-drop is for recipes with the pass quantize\/auto/],
    [['--recipe', 'int8-auto', '--max-drop', '101'], 2, /must be a number in \[0, 100\]/],
    [['--recipe', 'int8-weights', '--snapshots', at('nothing')], 2, /there are no snapshots beside/],
  ]
  const runs = await Promise.all(tries.map(([args], i) => tersor(['compress', lenet, ...args, '--out', at(`missing-${i}`)])))
  tries.forEach(([, code, message], i) => {
    expect(runs[i]!.code, runs[i]!.stderr).toBe(code)
    expect(runs[i]!.stderr).toMatch(message)
  })
  expect(filesIn(dir).filter((name) => name.startsWith('missing'))).toEqual([])
})
