/** Recipes: everything that is wrong is ERR_RECIPE with the place and the nearest name (F25). */
import { z } from 'zod'
import { describe, expect, it } from 'vitest'
import { definePass, parseRecipe, passDefinitions, presets, prune, quantize, recipe, sparsify, train } from '../../ts/compress/index.js'
import { knownKeys } from '../../ts/compress/schema-keys.js'
import { selectTargets } from '../../ts/compress/targets.js'
import type { Weight } from '../../ts/nn/index.js'
import { mlp } from './toys.js'
import { cpuClock } from '../cpu-time.js'

const one = (pass: unknown): unknown => ({ recipe: 1, stages: [[pass]] })
const withOptions = (pass: string, options: unknown): unknown => one({ pass, options })
const magnitude = (options: unknown): unknown => withOptions('prune/magnitude', options)

function rejected(input: unknown): { pointer: string; message: string } {
  try {
    parseRecipe(input)
  } catch (error) {
    const e = error as { code: string; name: string; message: string; details: { pointer: string } }
    expect(e).toMatchObject({ code: 'ERR_RECIPE', name: 'RecipeError' })
    return { pointer: e.details.pointer, message: e.message }
  }
  throw new Error('the recipe was accepted')
}

describe('recipes', () => {
  it('are data: made by factories, written as JSON, read back the same', () => {
    const made = recipe(
      [
        [prune.magnitude({ sparsity: 0.5, scope: 'global', retrain: train.rewindLearningRate({ epochs: 2 }) })],
        [
          quantize.static({ bits: 8, calibration: 'percentile' }, { targets: ['blocks.*.mlp.*'] }),
          quantize.rtn({ bits: 4 }, { ignore: ['fc3'] }),
        ],
        [sparsify.csr()],
      ],
      { seed: 3, name: 'mine' },
    )
    expect(parseRecipe(JSON.stringify(made))).toEqual(made)
    expect(parseRecipe(new TextEncoder().encode(JSON.stringify(made)))).toEqual(made)
    expect(parseRecipe(made)).toEqual(made)
    expect(made.stages[0]![0]).toEqual({
      pass: 'prune/magnitude',
      version: 1,
      options: { sparsity: 0.5, scope: 'global', retrain: { kind: 'rewindLearningRate', epochs: 2 } },
    })
    expect(made.stages[1]![1]!.options).toMatchObject({ bits: 4, mode: 'symmetric', layout: 'channel' })
  })

  it('the factory call itself is plain data', () => {
    expect(JSON.parse(JSON.stringify(quantize.rtn({ bits: 4 }, { targets: ['fc1'] })))).toEqual({
      pass: 'quantize/rtn',
      version: 1,
      options: { bits: 4 },
      targets: ['fc1'],
    })
  })

  it.each([
    [{}, '/recipe', 'must be 1'],
    [{ recipe: 2, stages: [] }, '/recipe', 'must be 1'],
    [{ recipe: 1, stages: [] }, '/stages', 'at least one'],
    [{ recipe: 1, stages: [[]] }, '/stages/0', 'at least one pass'],
    [{ recipe: 1 }, '/stages', 'must be a list'],
    [{ recipe: 1, stages: {} }, '/stages', 'must be a list'],
    [{ recipe: 1, stages: [{ pass: 'quantize/rtn' }] }, '/stages/0', 'must be a list'],
    [{ recipe: 1, stagse: [] }, '/stagse', 'did you mean "stages"'],
    [{ recipe: 1, stages: [['quantize/rtn']] }, '/stages/0/0', 'must be an object'],
    [{ recipe: 1, seed: -1, stages: [] }, '/seed', 'integer'],
    [{ recipe: 1, seed: 2 ** 60, stages: [] }, '/seed', 'integer'],
    [{ recipe: 1, seed: '1', stages: [] }, '/seed', 'got "1"'],
    [{ recipe: 1, output: '../../x', stages: [] }, '/output', 'unknown key "output"'],
    [one({ pass: 'quantise/rtn' }), '/stages/0/0/pass', 'did you mean "quantize/rtn"'],
    [one({ pass: 'sparsity/csr' }), '/stages/0/0/pass', 'did you mean "sparsify/csr"'],
    [one({ pass: 7 }), '/stages/0/0/pass', 'name of a pass'],
    [one({ pass: 'quantize/rtn', option: {} }), '/stages/0/0/option', 'did you mean "options"'],
    [one({ pass: 'quantize/rtn', version: 2 }), '/stages/0/0/version', 'has version 1 here, the recipe asks for 2'],
    [one({ pass: 'quantize/rtn', targets: 'fc1' }), '/stages/0/0/targets', 'must be a list'],
    [one({ pass: 'quantize/rtn', targets: [''] }), '/stages/0/0/targets/0', '1 to 1024'],
    [one({ pass: 'quantize/rtn', targets: ['fc1', 'a'.repeat(1025)] }), '/stages/0/0/targets/1', '1 to 1024'],
    [one({ pass: 'quantize/rtn', targets: ['@matrx'] }), '/stages/0/0/targets/0', 'did you mean "@matrix"'],
    [one({ pass: 'quantize/rtn', ignore: ['a\0b'] }), '/stages/0/0/ignore/0', 'NUL'],
    ['nonsense', '', 'syntax'],
    ['[]', '', 'must be an object'],
    [null, '', 'must be an object'],
    [42, '', 'must be an object'],
  ])('%j: %s', (input, pointer, text) => {
    const found = rejected(input)
    if (text !== 'syntax') {
      expect(found.pointer).toBe(pointer)
      expect(found.message).toContain(text)
    }
  })

  it.each([
    [{ sparsity: 1.5 }, '/sparsity'],
    [{ sparsity: 1 }, '/sparsity'],
    [{ sparsity: -0.1 }, '/sparsity'],
    [{ sparsity: '0.5' }, '/sparsity'],
    [{ sparsity: null }, '/sparsity'],
    [{ sparsity: [] }, '/sparsity'],
    [{ sparsity: [0.5, 0.3] }, '/sparsity'],
    [{ sparsity: [0.5, 1] }, '/sparsity/1'],
    [{ sparsity: NaN }, '/sparsity'],
    [{}, '/sparsity'],
    [{ sparsity: 0.5, iterative: { rounds: 2 } }, '/sparsity'],
    [{ iterative: { rounds: 0 } }, '/iterative/rounds'],
    [{ iterative: { rounds: 2, fraction: 1 } }, '/iterative/fraction'],
    [{ sparsity: 0.5, scope: 'everywhere' }, '/scope'],
    [{ sparsity: 0.5, retrain: { kind: 'finetune' } }, '/retrain/epochs'],
    [{ sparsity: 0.5, retrain: { kind: 'finetune', epochs: 1.5 } }, '/retrain/epochs'],
    [{ sparsity: 0.5, retrain: { kind: 'rewind', epochs: 1 } }, '/retrain/kind'],
    [{ sparsity: 0.5, gradual: {} }, '/gradual'],
    [{ sparsity: 0.5, gradual: { begin: 0.5, end: 0.5 }, retrain: { kind: 'finetune', epochs: 1 } }, '/gradual/end'],
    [{ sparsity: 0.5, stop: {} }, '/stop'],
    [{ sparsity: 0.5, stop: {}, gradual: {}, retrain: { kind: 'finetune', epochs: 1 } }, '/stop'],
    [{ sparsity: 0.5, training: { epochs: 0 } }, '/training/epochs'],
  ])('prune/magnitude %j: %s', (options, pointer) => {
    expect(rejected(magnitude(options)).pointer).toBe(`/stages/0/0/options${pointer}`)
  })

  it.each([{ bits: 9 }, { bits: 1 }, { bits: 0 }, { bits: 4.5 }, { bits: '4' }])('quantize/rtn %j', (options) => {
    const { pointer, message } = rejected(withOptions('quantize/rtn', options))
    expect(pointer).toBe('/stages/0/0/options/bits')
    expect(message).toContain(String(options.bits))
  })

  it.each([
    ['quantize/rtn', { group_size: 32 }, '/group_size', '"groupSize"'],
    ['quantize/static-int8', { calibrate: 'minmax' }, '/calibrate', '"calibration"'],
    ['prune/magnitude', { sparsty: 0.5 }, '/sparsty', '"sparsity"'],
    ['prune/magnitude', { sparsity: 0.5, retrain: { kind: 'finetune', epoch: 1, epochs: 1 } }, '/retrain/epoch', '"epochs"'],
    ['prune/magnitude', { sparsity: 0.5, retrain: { kind: 'finetune', rl: 1, epochs: 1 } }, '/retrain/rl', '"lr"'],
    ['prune/magnitude', { iterative: { rounds: 2, fracton: 0.1 } }, '/iterative/fracton', '"fraction"'],
    [
      'prune/magnitude',
      { sparsity: 0.5, training: { epochs: 1, optimizer: { kind: 'sgd', momentm: 0.9 } } },
      '/training/optimizer/momentm',
      '"momentum"',
    ],
    ['sparsify/csr', { saving: 0, 'a/b~c': 1 }, '/a~1b~0c', 'known: saving'],
  ])('%s %j names the place and the nearest key', (pass, options, pointer, name) => {
    const found = rejected(withOptions(pass, options))
    expect(found.pointer).toBe(`/stages/0/0/options${pointer}`)
    expect(found.message).toContain(name)
  })

  it('the key that is suggested is one of the alternative that is meant', () => {
    // "lr" belongs to finetune, not to rewindWeights
    const found = rejected(magnitude({ sparsity: 0.5, retrain: { kind: 'rewindWeights', epochs: 1, lr: 0.1 } }))
    expect(found.message).toContain('known: kind, epochs')
    expect(knownKeys(z.strictObject({ a: z.array(z.strictObject({ b: z.int() })) }), ['a', 0], { a: [{}] })).toEqual(['b'])
  })

  it('hostile text', () => {
    expect(rejected('['.repeat(500_000)).message).toMatch(/deep|depth|nest/i)
    expect(rejected('{"recipe":1,"stages":[[{"pass":"prune/magnitude","options":{"sparsity":1e999}}]]}').message).toContain('1e999')
    expect(rejected('{"recipe":1,"recipe":1,"stages":[]}').message).toContain('duplicate')
    expect(rejected('{"recipe":1,"__proto__":{"polluted":true},"stages":[]}').message).toContain('__proto__')
    expect(rejected('{"recipe":1,"stages":[[{"pass":"quantize/rtn","options":{"__proto__":{"bits":4}}}]]}').message).toContain('__proto__')
    expect(rejected(`{"recipe":1,"stages":${JSON.stringify(new Array(2000).fill([{ pass: 'quantize/rtn' }]))}}`).message).toContain(
      'at most 1000',
    )
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
    const ms = cpuClock()
    rejected({ recipe: 1, stages: [], ['x'.repeat(1e6)]: 1 })
    expect(ms()).toBeLessThan(500)
  })
})

describe('targets', () => {
  const model = mlp()
  const paths = (targets?: readonly string[], ignore?: readonly string[]): string[] =>
    selectTargets(model, { ...(targets ? { targets } : {}), ...(ignore ? { ignore } : {}) }, ['matrix']).map((w) => w.path)

  it('by role, path and pattern, in the order of the model', () => {
    expect(paths()).toEqual(['fc1.weight', 'fc2.weight', 'fc3.weight'])
    expect(paths(['fc3', 'fc1.weight'])).toEqual(['fc1.weight', 'fc3.weight', 'fc3.bias'])
    expect(paths(['@vector'])).toEqual(['fc1.bias', 'fc2.bias', 'fc3.bias'])
    expect(paths(['@matrix', 'fc1'], ['fc2'])).toEqual(['fc1.weight', 'fc1.bias', 'fc3.weight'])
    expect(paths(['@table'])).toEqual([])
    expect(paths(undefined, ['@matrix'])).toEqual([])
    expect(paths(undefined, ['not.there'])).toHaveLength(3)
  })

  it('a pattern that fits nothing is an error that names the nearest path', () => {
    expect(() => paths(['fc1', 'fc9.weight'])).toThrow(
      expect.objectContaining({
        code: 'ERR_RECIPE',
        details: { pointer: '/targets/1' },
        message: expect.stringMatching(/fits no weight of toy mlp; did you mean "fc[123]\.weight"\?/),
      }),
    )
  })

  it('a hostile pattern against 10,000 names takes no time', () => {
    const one = mlp().root.children.fc1!
    const children = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, i) => {
        const weight: Weight = Object.create(one.weights.weight!) as Weight // layers that share one are one target
        return [`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa${i}`, { ...one, weights: { weight } }]
      }),
    )
    const many = Object.assign(Object.create(Object.getPrototypeOf(model) as object) as typeof model, {
      root: { ...model.root, children },
      info: model.info,
      extras: {},
    })
    const ms = cpuClock()
    expect(() => selectTargets(many, { targets: ['(a+)+$'] }, ['matrix'])).toThrow(expect.objectContaining({ code: 'ERR_RECIPE' }))
    expect(selectTargets(many, { ignore: ['*a*a*a*a*a*a*a*b'] }, ['matrix'])).toHaveLength(10_000)
    expect(ms()).toBeLessThan(5000)
  })
})

describe('passes and presets', () => {
  it('every pass that comes with the package is known, and describes itself', () => {
    expect([...passDefinitions().keys()]).toEqual(
      expect.arrayContaining(['prune/magnitude', 'quantize/rtn', 'quantize/static-int8', 'sparsify/csr']),
    )
    for (const [name, definition] of passDefinitions()) {
      expect(definition.name).toBe(name)
      expect(definition.version).toBeGreaterThanOrEqual(1)
      expect(definition.summary).toMatch(/^[a-z0-9].{10,100}$/)
    }
  })

  it("a program's own pass is known as soon as it is defined", () => {
    definePass({
      name: 'test/nothing',
      version: 3,
      summary: 'does nothing at all',
      options: z.strictObject({}),
      roles: ['matrix'],
      apply: (m) => m,
    })
    expect(parseRecipe(one({ pass: 'test/nothing' })).stages[0]![0]).toEqual({ pass: 'test/nothing', version: 3, options: {} })
  })

  it('every preset is a recipe that reads back the same', () => {
    expect(Object.keys(presets)).toEqual(expect.arrayContaining(['int8-static', 'int4-group', 'prune50-int8', 'prune-lr-rewind-int8']))
    for (const [name, preset] of Object.entries(presets)) {
      expect(parseRecipe(JSON.stringify(preset.recipe))).toEqual(preset.recipe)
      expect(preset.recipe.name).toBe(name)
      const trains = preset.recipe.stages
        .flat()
        .some(
          (p) =>
            (p.options.retrain as { kind: string } | undefined)?.kind !== undefined &&
            (p.options.retrain as { kind: string }).kind !== 'none',
        )
      expect(preset.needs === 'training').toBe(trains)
    }
  })
})
