/** Structured pruning: what is cut computes what is masked, and what is cut is really smaller. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { contextScores } from '../../ts/compress/prune/structured/heads-score.js'
import { compress, prune, quantize, recipe, sparsify, train, type CompressResult, type PassSpec } from '../../ts/compress/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { channelStructure, exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import { loadModel, saveModel } from '../../ts/models/file.js'
import { memory } from '../../ts/native/devices.js'
import { encoderBlock, layerNorm, linear, Model, rotaryAttention, sequential, type ForwardContext } from '../../ts/nn/index.js'
import { architectures, causalLanguage, languageModel } from '../../ts/models/index.js'
import { crossEntropy, mul, reshape, sum } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { difference, images, modelOf, randomNet, randomUnits, withSilentHead } from './structured-lib.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const folder = mkdtempSync(join(tmpdir(), 'tersor-structured-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Frees what `m` has and `model` has not. */
function freeOwn(m: Model, model: Model): void {
  const kept = new Set<unknown>([...model.weights().map((w) => w.weight), ...model.state().values()])
  for (const { weight } of m.weights()) if (!kept.has(weight)) weight.dispose()
  for (const t of m.state().values()) if (!kept.has(t)) t.dispose()
}

const one = async (model: Model, pass: PassSpec, options = {}): Promise<CompressResult> => compress(model, recipe([[pass]]), options)

describe('random nets', () => {
  it('masked == cut to 1e-5, files load again, nothing stays allocated', () => {
    const before = memory().tensors
    let [removedInAll, moved] = [0, 0]
    for (let seed = 1; seed <= 10; seed++) {
      const model = randomNet(seed)
      const structure = channelStructure(model)
      expect(structure.left, `seed ${seed}`).toEqual([])
      const removed = randomUnits(model, seed)
      removedInAll += removed.size
      const masked = structure.mask(model, removed)
      const cut = structure.cut(model, removed)
      const x = images(2)
      expect(cut.parameters(), `seed ${seed}`).toBeLessThan(model.parameters())
      expect(difference(masked, cut, x), `seed ${seed}: ${JSON.stringify(model.spec())}`).toBeLessThan(1e-5)
      if (difference(model, cut, x) > 1e-3) moved++
      const file = join(folder, 'net.safetensors')
      saveModel(cut, file)
      const loaded = loadModel(file)
      expect(bitsOf(loaded)).toBe(bitsOf(cut))
      loaded.dispose()
      x.dispose()
      for (const m of [masked, cut]) freeOwn(m, model)
      model.dispose()
    }
    expect(removedInAll).toBeGreaterThan(70)
    expect(moved).toBeGreaterThan(6)
    expect(memory().tensors).toBe(before)
  })

  it('taken away in two steps is taken away at once', () => {
    const model = randomNet(4)
    const structure = channelStructure(model)
    const all = randomUnits(model, 4)
    const half = new Set([...all].slice(0, all.size / 2))
    const twice = structure.cut(structure.cut(model, half), all, half)
    expect(bitsOf(twice)).toBe(bitsOf(structure.cut(model, all)))
    expect(twice.spec()).toEqual(structure.cut(model, all).spec())
  })
})

describe('transformers and recurrent nets', () => {
  const blocks = (): Model =>
    modelOf(
      sequential({
        b0: encoderBlock({ width: 12, heads: 3, hidden: 20, norm: 'pre' }),
        b1: encoderBlock({ width: 12, heads: 3, hidden: 20, norm: 'post' }),
        out: linear({ in: 12, out: 3, bias: true, init: 'glorot' }),
      }),
      {},
    )
  const x = tensor(
    Float32Array.from({ length: 2 * 5 * 12 }, (_, i) => Math.sin(i)),
    [2, 5, 12],
  )

  it('a head is its rows of query, key and value and its columns of the output; widths between the layers stay', () => {
    const model = blocks()
    const { groups } = channelStructure(model)
    const heads = groups.filter((g) => g.unit === 'head' && g.fixed === undefined)
    expect(heads.map((g) => g.units.length)).toEqual([3, 3])
    const head = heads[0]!.slices.map((s) => [s.path, s.axis, s.positions[1]])
    const rows = [4, 5, 6, 7]
    for (const name of ['query', 'key', 'value']) expect(head).toContainEqual([`b0.attention.${name}.weight`, 0, rows])
    expect(head).toContainEqual(['b0.attention.output.weight', 1, rows])
    expect(groups.find((g) => g.name === 'b0.attention.output')!.fixed).toBeDefined()
  })

  it('a mask of 0 over heads and neurons == the sliced model, to 1e-5', async () => {
    const model = blocks()
    for (const make of [
      (how: 'cut' | 'mask') => prune.heads({ ratio: 0.4, score: 'magnitude', how }),
      (how: 'cut' | 'mask') => prune.rows({ ratio: 0.5, how }, { targets: ['*.up.weight'] }),
    ]) {
      const [cut, mask] = [await one(model, make('cut')), await one(model, make('mask'))]
      expect(difference(mask.model, cut.model, x)).toBeLessThan(1e-5)
      expect(difference(model, cut.model, x)).toBeGreaterThan(1e-3)
      expect(cut.model.parameters()).toBeLessThan(model.parameters())
    }
  })

  it('importance by the gradient where a layer runs twice (ALBERT): the derivative of the gate that all its runs share', async () => {
    const body = { vocabulary: 9, embedding: 8, width: 8, layers: 2, distinct: 1, heads: 4, hidden: 16, positions: 4, activation: 'gelu' as const, eps: 1e-5, norm: 'pre' as const, causal: true } // prettier-ignore
    const model = modelOf(causalLanguage({ body, tied: true }), { task: 'language' })
    const structure = channelStructure(model)
    const groups = structure.groups.filter((g) => g.unit === 'head')
    const ids = tensor(Int32Array.of(3), [1, 1])
    const loss = (m: Model, more: Partial<ForwardContext> = {}): Tensor =>
      crossEntropy(reshape(m.forward(ids, more), [1, 9]), tensor(Int32Array.of(5), [1]))
    const found = await contextScores(groups, { model, structure, before: new Set() }, { batches: 1, each: async (see) => see(loss) })
    // Of one token: a gate multiplies the columns of the output's weight, in every run.
    const weight = model
      .weights()
      .find((w) => w.path.endsWith('attention.output.weight'))!
      .weight.trainable()[0]!.value
    const slopes = scope(() => {
      const { grads } = valueAndGrad(() => loss(model), [weight])
      const products = sum(mul(grads[0]!, weight), [0]).read() as Float32Array
      return Array.from({ length: 4 }, (_, h) => Math.abs(products[2 * h]! + products[2 * h + 1]!))
    })
    expect(groups).toHaveLength(1)
    groups[0]!.units.forEach((unit, h) => expect(found.get(unit)! / slopes[h]!).toBeCloseTo(1, 4))
  })

  it('importance by the gradient: a head that says nothing goes first, with the same answers (Michel et al. 2019)', async () => {
    const model = withSilentHead()
    const { model: small, report } = await one(model, prune.heads({ ratio: 0.25, samples: 32 }), { data: bars(32) })
    expect((report.passes[0]!.figures as any).groups).toEqual([expect.objectContaining({ before: 4, after: 3 })])
    const input = images(2, [8, 8])
    expect(difference(model, small, input)).toBeLessThan(1e-5)
    expect(small.root.children.b!.children.attention!.config).toMatchObject({ heads: 3, width: 6 })
  })

  it('grouped queries go with the keys that they share; LSTM units with all their gates', () => {
    const rotary = modelOf(rotaryAttention({ in: 8, heads: 4, keyHeads: 2, headWidth: 4 }), {})
    const found = channelStructure(rotary)
    const group = found.groups.find((g) => g.unit === 'head')!
    expect(group.units).toHaveLength(2)
    const smaller = found.cut(rotary, new Set([group.units[0]!]))
    expect(smaller.root.config).toMatchObject({ heads: 2, keyHeads: 1 })

    for (const cell of ['lstm', 'gru'] as const)
      for (const tied of [false, true]) {
        const lm = modelOf(languageModel({ vocabulary: 11, width: 6, hidden: 6, layers: 2, cell, tied }), {})
        const removed = randomUnits(lm, 3)
        const structure = channelStructure(lm)
        const [masked, cut] = [structure.mask(lm, removed), structure.cut(lm, removed)]
        const ids = tensor(new Int32Array([1, 5, 9, 2, 0, 10]), [2, 3])
        expect(cut.parameters()).toBeLessThan(lm.parameters())
        expect(difference(masked, cut, ids)).toBeLessThan(1e-5)
      }
  })
})

describe('passes', () => {
  it('prune/filters: counts, sizes and figures are those of the result', async () => {
    const model = randomNet(3)
    const { model: cut, report } = await one(model, prune.filters({ ratio: 0.5 }))
    const figures = report.passes[0]!.figures as any
    expect(figures.parameters.after).toBe(cut.parameters())
    expect(report.parametersAfter).toBe(cut.parameters())
    expect(figures.macs.after).toBeLessThan(figures.macs.before)
    expect(figures.fileBytes.after).toBeLessThan(figures.fileBytes.before)
    expect(figures.groups.length).toBeGreaterThan(0)
    for (const g of figures.groups) expect(g.after, g.name).toBe(Math.round(g.before / 2))
    // The smallest by their norm went.
    const all = channelStructure(model)
    expect(report.layers.find((l) => l.shapeBefore)?.error).toBe(0)
    expect(all.groups.some((g) => g.fixed !== undefined)).toBe(true)
  })

  it('removes the filters with the smallest norm', async () => {
    const model = convnet(3)
    const w = scope(() => model.weights()[0]!.weight.dense().read() as Float32Array)
    const norms = Array.from({ length: 6 }, (_, i) => w.slice(i * 9, i * 9 + 9).reduce((n, v) => n + Math.abs(v), 0))
    const order = norms.map((_, i) => i).sort((a, b) => norms[b]! - norms[a]!)
    const { model: cut } = await one(model, prune.filters({ ratio: 0.5 }))
    const kept = scope(() => cut.weights()[0]!.weight.dense().read() as Float32Array)
    const wanted = order.slice(0, 3).sort((a, b) => a - b)
    expect([...kept]).toEqual(wanted.flatMap((i) => [...w.slice(i * 9, i * 9 + 9)]))
    expect(cut.weights().find((p) => p.path === 'fc.weight')!.weight.shape).toEqual([2, 48])
  })

  it('size and macs are reached and not missed by more than a unit', async () => {
    const model = randomNet(3)
    for (const [goal, name] of [
      [{ size: 0.6 }, 'parameters'],
      [{ macs: 0.5 }, 'macs'],
    ] as const)
      for (const how of ['local', 'global'] as const) {
        const { report } = await one(model, prune.filters({ ...goal, scope: how }))
        const { before, after } = (report.passes[0]!.figures as any)[name]
        const wanted = Object.values(goal)[0]!
        expect(after / before).toBeLessThanOrEqual(wanted)
        expect(after / before).toBeGreaterThan(wanted - 0.3)
      }
  })

  it('every score runs; roundTo keeps multiples', async () => {
    const data = bars(64)
    const trained = await train(convnet(), data, quick)
    for (const score of ['l1', 'l2', 'taylor', 'gamma', 'random'] as const) {
      const { model } = await one(trained.model, prune.filters({ ratio: 0.4, score, roundTo: 2 }), { data })
      expect(model.weights()[0]!.weight.shape[0], score).toBe(4)
    }
  })

  it('retrains, quantizes and stores what is left; interrupted anywhere and resumed = never interrupted', async () => {
    const data = bars(120)
    const trained = await train(convnet(), data, { ...quick, snapshotEpochs: [3, 4] })
    const { snapshots } = trained
    for (const [retrain, how] of [
      [train.rewindLearningRate({ epochs: 1 }), 'cut'],
      [train.rewindWeights({ epochs: 1 }), 'cut'],
      [train.finetune({ epochs: 1 }), 'mask'],
      [train.reinitialize({ epochs: 1 }), 'cut'],
    ] as const) {
      const made = recipe(
        [[prune.filters({ ratio: 0.5, rounds: 2, retrain, how })], [quantize.static({ samples: 32 })], [sparsify.csr()]],
        { seed: 3 },
      )
      const straight = await compress(trained.model, made, { data, snapshots })
      expect(straight.report.passes[0]!.epochs).toHaveLength(2)
      if (how === 'cut') expect(straight.model.weights()[0]!.weight.shape[0]).toBe(3)
      const options = { data, snapshots, checkpointDir: join(folder, `${retrain.kind}`), checkpointSeconds: 0 }
      for (const at of [how === 'cut' ? 9 : 20]) {
        const stop = new AbortController()
        let seen = 0
        const onEvent = (): void => void (++seen === at && stop.abort())
        await expect(compress(trained.model, made, { ...options, signal: stop.signal, onEvent })).rejects.toMatchObject({
          code: 'ERR_ABORTED',
        })
        const resumed = await compress(trained.model, made, { ...options, resume: true })
        expect(bitsOf(resumed.model)).toBe(bitsOf(straight.model))
        expect(resumed.model.spec()).toEqual(straight.model.spec())
      }
    }
  })

  it('scratch trains fresh weights of what is left, as long as its arithmetic pays for (Liu et al. 2019)', async () => {
    const { model } = await train(mlp(), blobs(64), { ...quick, epochs: 2 })
    const epochs = async (budget: 'epochs' | 'compute'): Promise<number> => {
      const pass = prune.rows({ ratio: 0.75, retrain: train.scratch({ budget, maxFactor: 3 }) })
      const { report } = await one(model, pass, { data: blobs(64) })
      return report.passes[0]!.epochs.length
    }
    expect(await epochs('epochs')).toBe(2)
    expect(await epochs('compute')).toBe(6)
  })

  it('bad options and models are refused, or left alone with the reason', async () => {
    const model = convnet()
    await expect(one(model, prune.filters({ ratio: 1 }))).rejects.toMatchObject({ code: 'ERR_RECIPE' })
    await expect(one(model, prune.filters({}))).rejects.toMatchObject({ code: 'ERR_RECIPE' })
    await expect(one(model, prune.filters({ ratio: 0.5, size: 0.5 }))).rejects.toMatchObject({ code: 'ERR_RECIPE' })
    await expect(one(model, prune.filters({ ratio: 0.95 }))).rejects.toThrow(/would remove all 6 filters of conv/)
    await expect(one(model, prune.filters({ size: 0.001 }))).rejects.toThrow(/out of reach/)
    await expect(one(model, prune.filters({ ratio: 0.5 }, { targets: ['nothing.*'] }))).rejects.toMatchObject({ code: 'ERR_RECIPE' })
    const notes = async (pass: PassSpec): Promise<string> => {
      const { model: same, report } = await one(model, pass)
      expect(same.root).toBe(model.root)
      return JSON.stringify(report.passes[0]!.notes)
    }
    expect(await notes(prune.filters({ ratio: 0.5, roundTo: 8 }))).toMatch(/has 6 filters, fewer than roundTo 8/)
    expect(await notes(prune.filters({ ratio: 0.5 }, { ignore: ['conv.weight', 'no-such-layer'] }))).toMatch(/has no filters that can go/)
    expect(await notes(prune.heads({ ratio: 0.5, score: 'random' }))).toMatch(/has no heads that can go/)
    const coded = await one(model, quantize.rtn({ bits: 8 }))
    const again = await one(coded.model, prune.filters({ ratio: 0.5 }))
    expect(JSON.stringify(again.report.passes[0]!.notes)).toMatch(/conv.weight is stored as int8/)
    expect((await one(mlp(), prune.rows({ ratio: 0.5 }))).model.weights().map((w) => w.weight.shape[0])).toEqual([16, 16, 16, 16, 3, 3])
  })
})

describe('imported graphs', () => {
  const imported = (model: Model): Model => modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(model))))

  it('masked == cut in nets that come from ONNX files; the cut net is written, read and computes the same', () => {
    let removedInAll = 0
    for (let seed = 1; seed <= 5; seed++) {
      const model = imported(randomNet(seed))
      const structure = channelStructure(model)
      const removed = randomUnits(model, seed)
      removedInAll += removed.size
      const [masked, cut] = [structure.mask(model, removed), structure.cut(model, removed)]
      const x = images(2)
      expect(difference(masked, cut, x), `seed ${seed}`).toBeLessThan(1e-5)
      const again = imported(cut)
      expect(difference(cut, again, x), `seed ${seed}`).toBeLessThan(1e-5)
      const file = join(folder, 'graph.safetensors')
      saveModel(cut, file)
      expect(difference(cut, loadModel(file), x)).toBe(0)
    }
    expect(removedInAll).toBeGreaterThan(30)
  })

  it('operators that mix channels freeze them, by name', () => {
    const model = imported(
      modelOf(
        sequential({
          a: linear({ in: 4, out: 6, bias: true, init: 'he' }),
          n: layerNorm({ width: 6, eps: 1e-5 }),
          b: linear({ in: 6, out: 2, bias: true, init: 'he' }),
        }),
        { inputShape: [4] },
      ),
    )
    const fixed = channelStructure(model).groups.map((g) => g.fixed)
    expect(fixed.every((reason) => reason !== undefined)).toBe(true)
  })
})

describe('prune/layers', () => {
  const net = (): Model =>
    modelOf(
      sequential({
        stem: linear({ in: 4, out: 12, bias: true, init: 'he' }),
        b0: encoderBlock({ width: 12, heads: 3, hidden: 20 }),
        b1: encoderBlock({ width: 12, heads: 3, hidden: 20 }),
        b2: encoderBlock({ width: 12, heads: 3, hidden: 20 }),
        out: linear({ in: 12, out: 3, bias: true, init: 'glorot' }),
      }),
      {},
    )
  it('what is dropped hands on what comes in; the others keep their names; files load', async () => {
    const model = net()
    const { model: small, report } = await one(model, prune.layers({ drop: ['b1'] }))
    const x = tensor(
      new Float32Array(2 * 5 * 4).map((_, i) => Math.cos(i)),
      [2, 5, 4],
    )
    const { stem, b0, b2, out } = model.root.children
    const without = new Model({ ...model.root, children: { stem: stem!, b0: b0!, b2: b2!, out: out! } }, model.info)
    expect(difference(without, small, x)).toBe(0)
    expect(small.root.children.b1!.kind).toBe('identity')
    expect((report.passes[0]!.figures as any).dropped).toEqual(['b1'])
    const file = join(folder, 'layers.safetensors')
    saveModel(small, file)
    expect(bitsOf(loadModel(file))).toBe(bitsOf(small))
  })

  it('by count, from the end, and refused where it cannot be', async () => {
    const model = net()
    const { model: small } = await one(model, prune.layers({ count: 2, choose: 'last' }))
    expect(['b0', 'b1', 'b2'].map((name) => small.root.children[name]!.kind)).toEqual(['encoderBlock', 'identity', 'identity'])
    await expect(one(model, prune.layers({ drop: ['stem'] }))).rejects.toThrow(/stem cannot be left out/)
    await expect(one(model, prune.layers({ count: 3, choose: 'last' }))).rejects.toThrow(/has 3 blocks/)
    await expect(one(model, prune.layers({}))).rejects.toMatchObject({ code: 'ERR_RECIPE' })
  })

  it('by what the loss says', async () => {
    const data = bars(64)
    const { spec, inputShape } = architectures.resnet20({ inputShape: [1, 8, 8], classes: 2 })
    const model = modelOf(spec, { inputShape })
    const { model: small, report } = await one(model, prune.layers({ count: 2, samples: 32 }), { data })
    const { dropped, losses } = report.passes[0]!.figures as any
    expect(dropped).toHaveLength(2)
    const order = Object.entries(losses as Record<string, number>).sort((a, b) => a[1] - b[1])
    expect(dropped).toEqual(expect.arrayContaining(order.slice(0, 2).map(([name]) => name)))
    expect(small.parameters()).toBeLessThan(model.parameters())
  })
})
