/** The runner: order, events, reports, invariants, what it refuses. */
import { z } from 'zod'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  compress,
  convertWeights,
  definePass,
  prune,
  quantize,
  recipe,
  sparsify,
  train,
  type CompressEvent,
  type CompressReport,
  type PassSpec,
} from '../../ts/compress/index.js'
import { memory } from '../../ts/native/devices.js'
import { DenseWeight, Model } from '../../ts/nn/index.js'
import { full, tensor, zeros } from '../../ts/tensor/index.js'
import { bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const data = blobs(200)
const validation = blobs(100, { seed: 2 })
let net: Model
beforeAll(async () => {
  net = (await train(mlp(), data, quick)).model
})

/** A pass made for one test. */
let counter = 0
function passOf(apply: Parameters<typeof definePass>[0]['apply'], extra: object = {}): PassSpec {
  return definePass({
    name: `test/own${counter++}`,
    version: 1,
    summary: 'made for a test',
    options: z.strictObject({}),
    roles: ['matrix'],
    apply,
    ...extra,
  })()
}

/** The same report without what the clock decides. */
const timeless = (r: CompressReport): unknown => JSON.parse(JSON.stringify(r, (key, v: unknown) => (key === 'seconds' ? 0 : v)))

describe('compress', () => {
  const stages = (): PassSpec[][] => [
    [prune.magnitude({ sparsity: 0.5, scope: 'global', retrain: train.finetune({ epochs: 2, lr: 0.01 }) })],
    [quantize.static({ samples: 64 }), quantize.rtn({}, { targets: ['@table'] })],
    [sparsify.csr()],
  ]

  it('tells what happens in order, as plain JSON', async () => {
    const events: CompressEvent[] = []
    await compress(net, recipe(stages()), { data, validation, onEvent: (e) => events.push(e) })
    expect(JSON.parse(JSON.stringify(events))).toEqual(events)
    const order = events
      .filter((e) => !['progress', 'train-step'].includes(e.type))
      .map((e) => ('at' in e && e.at ? `${e.at.stage}.${e.at.pass} ` : '') + e.type)
    expect(order).toEqual([
      'run-start',
      'stage-start',
      '0.0 pass-start',
      '0.0 plan',
      '0.0 warning',
      '0.0 train-start',
      '0.0 train-epoch',
      '0.0 train-epoch',
      '0.0 train-end',
      '0.0 pass-end',
      'stage-end',
      'stage-start',
      '1.0 pass-start',
      '1.0 pass-end',
      '1.1 pass-start',
      '1.1 pass-end',
      'stage-end',
      'stage-start',
      '2.0 pass-start',
      '2.0 pass-end',
      'stage-end',
      'run-end',
    ])
    const epochs = events.filter((e) => e.type === 'train-epoch')
    expect(epochs.map((e) => e.epoch)).toEqual([1, 2])
    expect(epochs[1]!.accuracy).toBeGreaterThan(0.8)
    expect(events.find((e) => e.type === 'progress' && e.task === 'calibration')).toBeDefined()
  })

  it('reports what every pass and every weight cost and gained', async () => {
    const { model, report } = await compress(net, recipe(stages(), { seed: 9, name: 'three' }), { data })
    expect(JSON.parse(JSON.stringify(report))).toEqual(report)
    expect(report).toMatchObject({ name: 'toy mlp', seed: 9, parameters: net.parameters() })
    expect(report.sourceHash).toMatch(/^[0-9a-f]{64}$/)
    expect(report.passes.map((p) => p.pass)).toEqual(['prune/magnitude', 'quantize/static-int8', 'quantize/rtn', 'sparsify/csr'])
    expect(report.bytesBefore).toBe(net.weights().reduce((n, w) => n + w.weight.bytes(), 0))
    expect(report.bytesAfter).toBe(model.weights().reduce((n, w) => n + w.weight.bytes(), 0))
    for (let i = 1; i < report.passes.length; i++) expect(report.passes[i]!.bytesBefore).toBe(report.passes[i - 1]!.bytesAfter)
    expect(report.passes[2]!.notes[0]!.text).toContain('has no weight that it is for (@table)')
    expect(report.layers).toHaveLength(6)
    expect(report.layers[0]).toMatchObject({
      path: 'fc1.weight',
      role: 'matrix',
      shape: [32, 8],
      before: { kind: 'dense', bytes: 1024, density: 1 },
    })
    for (const l of report.layers) expect(l.error).toBeGreaterThanOrEqual(0)
  })

  it('notes in the history how the model was made, without times: the same run gives the same bits and the same history', async () => {
    const [a, b] = await Promise.all([1, 2].map(() => compress(net, recipe(stages(), { seed: 4 }), { data })))
    expect(a!.model.info).toEqual(b!.model.info)
    expect(bitsOf(a!.model)).toBe(bitsOf(b!.model))
    expect(timeless(a!.report)).toEqual(timeless(b!.report))
    expect(a!.model.info.history.at(-1)).toMatchObject({
      kind: 'compress',
      recipe: { recipe: 1, seed: 4 },
      source: { name: 'toy mlp', hash: a!.report.sourceHash },
      data: 'blobs',
      examples: 200,
    })
    expect(a!.model.info.history).toHaveLength(2)
    const other = await compress(net, recipe(stages(), { seed: 5 }), { data })
    expect(bitsOf(other.model)).not.toBe(bitsOf(a!.model))
  })

  it('does not change the model it was given, and takes text and objects for recipes', async () => {
    const before = bitsOf(net)
    const made = recipe([[quantize.rtn({ bits: 4 })]])
    const results = await Promise.all([
      compress(net, made),
      compress(net, JSON.stringify(made)),
      compress(net, { recipe: 1, stages: [[{ pass: 'quantize/rtn', options: { bits: 4 } }]] }),
    ])
    expect(new Set(results.map((r) => bitsOf(r.model))).size).toBe(1)
    expect(bitsOf(net)).toBe(before)
  })

  it('passes of a stage share one sweep over the model as it was before the stage', async () => {
    const count = async (made: PassSpec[][]): Promise<number> => {
      let sweeps = 0
      const onEvent = (e: CompressEvent): void => void (e.type === 'progress' && e.task === 'calibration' && e.done === e.total && sweeps++)
      await compress(net, recipe(made), { data, onEvent })
      return sweeps
    }
    const [first, second] = [quantize.static({ samples: 40 }, { targets: ['fc1'] }), quantize.static({ samples: 40 }, { targets: ['fc2'] })]
    expect(await count([[first, second]])).toBe(1)
    expect(await count([[first], [second]])).toBe(2)
    expect(await count([[sparsify.csr()]])).toBe(0)
  })

  it('NaN in the model is found before anything runs', async () => {
    const bad = net.withWeights(new Map([['fc2.weight', new DenseWeight(full([32, 32], NaN))]]))
    const events: CompressEvent[] = []
    await expect(compress(bad, recipe(stages()), { data, onEvent: (e) => events.push(e) })).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { tensor: 'fc2.weight', index: 0 },
    })
    expect(events).toEqual([])
  })

  it('running statistics are part of the model', async () => {
    const model = convnet()
    const { model: small } = await compress(model, recipe([[quantize.rtn()]]))
    expect([...small.state().keys()]).toEqual(['norm.mean', 'norm.variance'])
    model.state().get('norm.mean')!.write(new Float32Array(6).fill(Infinity))
    await expect(compress(model, recipe([[quantize.rtn()]]))).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { tensor: 'norm.mean' },
    })
  })
})

describe('what a pass must not do', () => {
  it.each([
    ['another shape', (m: Model) => m.withWeights(new Map([['fc1.weight', new DenseWeight(zeros([32, 9]))]])), 'ERR_OPTION'],
    ['NaN', (m: Model) => m.withWeights(new Map([['fc1.weight', new DenseWeight(full([32, 8], NaN))]])), 'ERR_NUMERIC'],
    ['fewer weights', (m: Model) => new Model(m.root.children.fc1!, m.info), 'ERR_OPTION'],
  ])('%s is found at once, and names the pass', async (_what, apply, code) => {
    const spec = passOf(apply)
    await expect(compress(net, recipe([[spec]]))).rejects.toMatchObject({ code, message: expect.stringContaining(spec.pass) })
  })

  it('its own error comes out unchanged, and earlier work is freed', async () => {
    const mine = new Error('mine')
    const before = memory().tensors
    const made = recipe([
      [quantize.rtn()],
      [
        passOf(() => {
          throw mine
        }),
      ],
    ])
    await expect(compress(net, made)).rejects.toBe(mine)
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })

  it('a conversion that fails halfway frees what it made', async () => {
    const spec = passOf((m, context) =>
      convertWeights(m, context, {
        task: 'test',
        convert: ({ path, weight }) => {
          if (path === 'fc3.weight') throw new RangeError('halfway')
          return new DenseWeight(tensor(weight.dense().read(), weight.shape))
        },
      }),
    )
    const before = memory().tensors
    await expect(compress(net, recipe([[spec]]))).rejects.toThrow('halfway')
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })
})

describe('what the caller may do', () => {
  it('abort at any event: ERR_ABORTED, everything freed', async () => {
    const made = recipe([
      [prune.magnitude({ sparsity: 0.5, retrain: train.finetune({ epochs: 1, lr: 0.01 }) })],
      [quantize.static({ samples: 64 })],
      [sparsify.csr()],
    ])
    let total = 0
    await compress(net, made, { data, onEvent: () => void total++ })
    const before = memory().tensors
    for (let at = 1; at < total; at++) {
      const controller = new AbortController()
      let seen = 0
      const onEvent = (): void => void (++seen === at && controller.abort('enough'))
      const result = await compress(net, made, { data, onEvent, signal: controller.signal }).catch((e: unknown) => e)
      // The very last steps look at the signal no more.
      if (!(result instanceof Error)) {
        expect(at).toBeGreaterThan(total - 6)
        const own = new Set(net.weights().map((w) => w.weight))
        for (const { weight } of (result as { model: Model }).model.weights()) if (!own.has(weight)) weight.dispose()
      } else expect(result).toMatchObject({ code: 'ERR_ABORTED', name: 'AbortError', cause: 'enough' })
      expect(memory().tensors, `event ${at}`).toBeLessThanOrEqual(before)
    }
  })

  it('throw from a listener: the same error, everything freed', async () => {
    const before = memory().tensors
    for (const type of ['run-start', 'pass-start', 'train-start', 'train-epoch', 'pass-end', 'run-end']) {
      const mine = new Error(type)
      const onEvent = (e: CompressEvent): void => {
        if (e.type === type) throw mine
      }
      await expect(
        compress(net, recipe([[prune.magnitude({ sparsity: 0.5, retrain: train.finetune({ epochs: 1, lr: 0.01 }) })]]), { data, onEvent }),
      ).rejects.toBe(mine)
      expect(memory().tensors, type).toBeLessThanOrEqual(before)
    }
  })

  it('compress the same model twice at the same time', async () => {
    const made = recipe([[prune.magnitude({ sparsity: 0.5, retrain: train.finetune({ epochs: 2, lr: 0.01 }) })]])
    const [a, b, alone] = [compress(net, made, { data }), compress(net, made, { data }), await compress(net, made, { data })]
    expect(bitsOf((await a).model)).toBe(bitsOf(alone.model))
    expect(bitsOf((await b).model)).toBe(bitsOf(alone.model))
  })

  it('refuse: a target that is not there, data that is missing', async () => {
    await expect(compress(net, recipe([[quantize.rtn({}, { targets: ['fc7'] })]]))).rejects.toMatchObject({
      code: 'ERR_RECIPE',
      details: { pointer: '/stages/0/0/targets/0' },
    })
    await expect(compress(net, recipe([[quantize.rtn()], [quantize.static()]]))).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})
