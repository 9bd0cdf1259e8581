/** Modules lstm and gru and the recurrent language model: names, values, state carried between windows, training, quantized weights. */
import { describe, expect, it } from 'vitest'
import { language, languagePerplexity, trainTask, type TaskOptions, type TrainResult } from '../../ts/compress/index.js'
import { Rng } from '../../ts/base/rng.js'
import { CarriedState, continueText, languageModel } from '../../ts/models/index.js'
import { build, freshValues, gru, lstm, Model, type ModuleSpec } from '../../ts/nn/index.js'
import { concat, lstm as lstmOp, slice } from '../../ts/ops/index.js'
import { memory, setThreads, threads } from '../../ts/native/devices.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { code, leavesNothing, maxDifference, normal } from './lib.js'

const modelOf = (spec: ModuleSpec): Model =>
  new Model(build(spec, freshValues(Rng.of(1, 'recurrent'))), { name: 'test', task: 'classification', history: [] })
const ids = (b: number, t: number, below: number): Tensor =>
  tensor(
    Int32Array.from({ length: b * t }, (_, i) => (i * 7 + (i % 3)) % below),
    [b, t],
  )
const config = { in: 3, hidden: 4, layers: 2, bidirectional: true, bias: true, dropout: 0, init: 0 }

describe('modules', () => {
  it('name their weights as PyTorch does', () => {
    const model = modelOf(gru(config))
    expect(model.weights().map((w) => `${w.path} ${w.role} ${w.weight.shape.join('x')}`)).toEqual(
      ['l0', 'l0_reverse', 'l1', 'l1_reverse'].flatMap((s) => [
        `weight_ih_${s} matrix 12x${s.startsWith('l0') ? 3 : 8}`,
        `weight_hh_${s} matrix 12x4`,
        `bias_ih_${s} vector 12`,
        `bias_hh_${s} vector 12`,
      ]),
    )
    model.dispose()
  })

  it('compute what the op computes, also with lengths', () =>
    scope(() => {
      const model = modelOf(lstm({ ...config, layers: 1, bidirectional: false }))
      const x = normal([2, 5, 3])
      const lengths = tensor(Int32Array.from([5, 2]))
      const w = (name: string): Tensor => model.root.weights[name]!.dense()
      const layer = { wih: w('weight_ih_l0'), whh: w('weight_hh_l0'), bih: w('bias_ih_l0'), bhh: w('bias_hh_l0') }
      expect(maxDifference(model.forward({ x, lengths }), lstmOp(x, [[layer]], { lengths }).y)).toBe(0)
      expect(maxDifference(model.forward(x), lstmOp(x, [[layer]]).y)).toBe(0)
      expect(() => model.forward({ y: x })).toThrow(code('ERR_OPTION'))
      model.dispose()
    }))

  it('draw dropout by step while training, and none otherwise', () =>
    scope(() => {
      const model = modelOf(lstm({ ...config, dropout: 0.5 }))
      const x = normal([2, 5, 3])
      const at = (step: number): Tensor => model.forward(x, { training: true, seed: 1, step })
      expect(maxDifference(at(0), at(0))).toBe(0)
      expect(maxDifference(at(0), at(1))).toBeGreaterThan(0)
      expect(maxDifference(model.forward(x), modelOf(lstm(config)).forward(x))).toBe(0)
    }))
})

describe.each(['lstm', 'gru'] as const)('language model of %s', (cell) => {
  const options = { vocabulary: 11, width: 6, hidden: 6, layers: 2, cell, dropout: 0.2 } as const

  it('goes on where the window before ended', () =>
    leavesNothing(() => {
      const model = modelOf(languageModel(options))
      const state = new CarriedState()
      scope(() => {
        const all = ids(2, 6, 11)
        const whole = model.forward(all)
        const parts = [0, 2, 4].map((t) => continueText(model, slice(all, [0, t], [2, 2]), state))
        expect(maxDifference(concat(parts, 1), whole)).toBeLessThan(1e-6)
        state.reset()
        expect(maxDifference(continueText(model, all, state), whole)).toBe(0)
      })
      state.dispose()
      model.dispose()
    }))

  it('ties the decoder to the embedding', () =>
    scope(() => {
      const [tied, free] = [modelOf(languageModel({ ...options, tied: true })), modelOf(languageModel(options))]
      expect(free.parameters() - tied.parameters()).toBe(11 * 6)
      expect([...tied.leaves().keys()]).toContain('encoder.weight')
      expect(tied.forward(ids(2, 3, 11)).shape).toEqual([2, 3, 11])
      expect(() => languageModel({ ...options, width: 5, tied: true })).toThrow(code('ERR_OPTION', /hidden/))
    }))

  it('learns a text that repeats itself, whatever the threads', async () => {
    const before = memory().tensors
    const model = modelOf(languageModel({ ...options, dropout: 0.1, hidden: 16, width: 16 }))
    const text = Int32Array.from({ length: 400 }, (_, i) => [0, 1, 2, 1, 3][i % 5]!)
    const untouched = await languagePerplexity(model, text)
    const settings: TaskOptions = {
      epochs: 25,
      batchSize: 4,
      optimizer: { kind: 'adamw' },
      schedule: { kind: 'constant', lr: 0.01 },
      clipNorm: 1,
    }
    const runs: TrainResult[] = []
    const threadsBefore = threads()
    for (const n of [1, 2]) {
      setThreads(n)
      runs.push(await trainTask(model, language(text, { window: 11 }), settings))
    }
    setThreads(threadsBefore)
    expect(untouched).toBeGreaterThan(8)
    expect(await languagePerplexity(model, text)).toBe(untouched)
    expect(runs[0]!.epochs).toEqual(runs[1]!.epochs)
    expect(Math.exp(runs[0]!.epochs.at(-1)!.loss)).toBeLessThan(1.6)
    expect(await languagePerplexity(runs[0]!.model, text)).toBeLessThan(1.3)
    for (const m of [model, ...runs.map((r) => r.model)]) m.dispose()
    expect(memory().tensors).toBe(before)
  })

  it('refuses what cannot be trained', async () => {
    const model = modelOf(languageModel(options))
    const text = Int32Array.from({ length: 50 }, (_, i) => i % 11)
    const train = (tokens: Int32Array, change: Partial<TaskOptions> = {}, window = 35): Promise<unknown> =>
      trainTask(model, language(tokens, { window }), { epochs: 1, batchSize: 2, schedule: { kind: 'constant', lr: 1 }, ...change })
    await expect(train(text, { epochs: 0 })).rejects.toThrow(code('ERR_OPTION'))
    await expect(train(text, { clipNorm: NaN })).rejects.toThrow(code('ERR_OPTION'))
    await expect(train(text, {}, 1.5)).rejects.toThrow(code('ERR_OPTION'))
    await expect(train(text.subarray(0, 2))).rejects.toThrow(code('ERR_DATA'))
    await expect(train(Int32Array.from([0, 1, 11, 2]))).rejects.toThrow(code('ERR_SHAPE'))
    await expect(train(text, { signal: AbortSignal.abort() })).rejects.toThrow(code('ERR_ABORTED'))
    await expect(languagePerplexity(model, new Int32Array(1))).rejects.toThrow(code('ERR_DATA'))
    model.dispose()
  })
})
