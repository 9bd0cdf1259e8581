/** LSTM and GRU against torch 1.13 (test/golden/make-torch-recurrent.py) and against the unrolled form; the same bits whatever the threads. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { add, sum, valueAndGrad } from '../../ts/autograd/index.js'
import { sizeOf } from '../../ts/base/shape.js'
import { gru, lstm, mul, type LstmResult, type RecurrentOptions, type RecurrentWeights } from '../../ts/ops/index.js'
import { lstmDirection } from '../../ts/ops/recurrent.js'
import { lstmUnrolled } from '../../ts/ops/recurrent-unrolled.js'
import { setThreads, threads } from '../../ts/native/devices.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { bits, numbers } from '../laws/cases.js'

const golden = JSON.parse(readFileSync(new URL('../golden/torch-recurrent.json', import.meta.url), 'utf8')) as Readonly<
  Record<string, Readonly<Record<string, readonly number[]>>>
>

/** Element i is scale sin(1.3 i + k). */
const wave = (k: number, shape: readonly number[], scale = 1, dtype: 'f32' | 'f64' = 'f32'): Tensor => {
  const values = Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(1.3 * i + k) * scale)
  return tensor(dtype === 'f64' ? Float64Array.from(values) : Float32Array.from(values), shape)
}

interface Net {
  readonly gates: 3 | 4
  readonly batch: number
  readonly steps: number
  readonly width: number
  readonly units: number
  readonly layers?: number
  readonly directions?: 1 | 2
  readonly lengths?: readonly number[]
  readonly states?: boolean
}

const small = { batch: 3, steps: 4, width: 2, units: 3, layers: 2, states: true } as const
const wide = { batch: 3, steps: 7, width: 3, units: 18, lengths: [7, 3, 5] } as const
const nets: Readonly<Record<string, Net>> = {
  lstm: { gates: 4, batch: 2, steps: 3, width: 4, units: 5 },
  'lstm two layers, states': { gates: 4, ...small },
  'lstm bidirectional, lengths': { gates: 4, ...small, directions: 2, lengths: [2, 4, 1] },
  'lstm 18 units': { gates: 4, ...wide },
  gru: { gates: 3, batch: 2, steps: 3, width: 4, units: 5 },
  'gru two layers, states': { gates: 3, ...small },
  'gru bidirectional, lengths': { gates: 3, ...small, directions: 2, lengths: [2, 4, 1] },
  'gru 18 units': { gates: 3, ...wide },
}

/** The numbers that the generator stores, by name. */
function run(net: Net, dtype: 'f32' | 'f64'): Record<string, Tensor> {
  const { gates, batch, steps, width, units, layers = 1, directions = 1, lengths, states } = net
  const parameters: Tensor[] = []
  const next = (...shape: number[]): Tensor => {
    const p = wave(parameters.length + 10, shape, 0.5, dtype)
    parameters.push(p)
    return p
  }
  const weights: RecurrentWeights[][] = Array.from({ length: layers }, (_, l) =>
    Array.from({ length: directions }, () => ({
      wih: next(gates * units, l === 0 ? width : directions * units),
      whh: next(gates * units, units),
      bih: next(gates * units),
      bhh: next(gates * units),
    })),
  )
  const x = wave(0, [batch, steps, width], 0.5, dtype)
  const given = states ? Array.from({ length: gates - 2 }, (_, i) => wave(3 + i, [layers * directions, batch, units], 0.5, dtype)) : []
  const options: RecurrentOptions = {
    lengths: lengths ? tensor(Int32Array.from(lengths)) : null,
    h0: given[0] ?? null,
    c0: given[1] ?? null,
  }
  const cell = gates === 4 ? lstm : gru
  const { grads, aux } = valueAndGrad(() => {
    const out = cell(x, weights, options)
    const last = 'c' in out ? [out.h, (out as LstmResult).c] : [out.h]
    const against = (t: Tensor, k: number): Tensor => sum(mul(t, wave(k, t.shape, 1, dtype)), [], false)
    return { value: last.reduce((total, s) => add(total, against(s, 2)), against(out.y, 1)), aux: { y: out.y, h: out.h, c: last.at(-1)! } }
  }, [x, ...parameters, ...given])
  const names = ['dx', ...parameters.map((_, i) => `d${i}`), ...given.map((_, i) => `s${i}`)]
  return { ...aux, ...Object.fromEntries(names.map((n, i) => [n, grads[i]!])) }
}

describe.each(Object.entries(nets))('%s', (name, net) => {
  it.each(['f64', 'f32'] as const)('gives the values and gradients of torch in %s', (dtype) =>
    scope(() => {
      const found = run(net, dtype)
      const want = golden[name]!
      expect(Object.keys(found).sort()).toEqual(Object.keys(want).sort())
      for (const [key, values] of Object.entries(want)) {
        const got = numbers(found[key]!)
        expect(got.length, key).toBe(values.length)
        got.forEach((v, i) =>
          expect(Math.abs(v - values[i]!), `${key}[${i}]: ${v}, torch ${values[i]}`).toBeLessThan(1e-5 * (1 + Math.abs(values[i]!))),
        )
      }
    }),
  )
})

describe('a larger LSTM', () => {
  const [t, b, c, h] = [5, 20, 70, 150]
  const weights = (): Tensor[] => [
    wave(1, [t, b, c]),
    wave(2, [4 * h, c], 0.1),
    wave(3, [4 * h, h], 0.1),
    wave(4, [4 * h]),
    wave(5, [b, h]),
    wave(6, [b, h]),
  ]

  it('has the same bits for any number of threads', () =>
    scope(() => {
      const before = threads()
      const all = weights()
      const seen = [1, 2, 3].map((n) => {
        setThreads(n)
        const { value, grads } = valueAndGrad(() => {
          const [states] = lstmDirection(all[0]!, all[1]!, all[2]!, all[3]!, all[4]!, all[5]!, null, false)
          return sum(mul(states, wave(7, states.shape)), [], false)
        }, all)
        return [value, ...grads].map(bits).join()
      })
      setThreads(before)
      expect(seen[1]).toBe(seen[0])
      expect(seen[2]).toBe(seen[0])
    }))

  it('agrees with the unrolled form', () =>
    scope(() => {
      const [x, wih, whh, bias, h0, c0] = weights() as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
      const lengths = tensor(Int32Array.from({ length: b }, (_, i) => i % (t + 1)))
      for (const reverse of [false, true]) {
        const args = [x, wih, whh, bias, h0, c0, lengths, reverse] as const
        const [got, want] = [numbers(lstmDirection(...args)[0]), numbers(lstmUnrolled(...args))]
        got.forEach((v, i) => expect(Math.abs(v - want[i]!)).toBeLessThan(1e-5))
      }
    }))
})

describe('what does not fit', () => {
  const w = (gates: number): RecurrentWeights => ({ wih: wave(0, [gates * 2, 3]), whh: wave(1, [gates * 2, 2]) })
  const x = (): Tensor => wave(2, [1, 4, 3])
  it.each([
    ['no layer', () => lstm(x(), []), 'ERR_OPTION'],
    ['three directions', () => gru(x(), [[w(3), w(3), w(3)]]), 'ERR_OPTION'],
    ['directions that differ', () => lstm(x(), [[w(4)], [w(4), w(4)]]), 'ERR_OPTION'],
    ['dropout 1', () => lstm(x(), [[w(4)], [{ wih: wave(0, [8, 2]), whh: wave(0, [8, 2]) }]], { dropout: 1 }), 'ERR_OPTION'],
    ['rank 2', () => lstm(wave(0, [4, 3]), [[w(4)]]), 'ERR_SHAPE'],
    ['states of another number of layers', () => lstm(x(), [[w(4)]], { h0: wave(0, [2, 1, 2]) }), 'ERR_SHAPE'],
    ['lengths beyond the end', () => gru(x(), [[w(3)]], { lengths: tensor(Int32Array.from([5])) }), 'ERR_SHAPE'],
    ['weights of an LSTM in a GRU', () => gru(x(), [[w(4)]]), 'ERR_SHAPE'],
    ['another element type', () => lstm(wave(0, [1, 4, 3], 1, 'f64'), [[w(4)]]), 'ERR_DTYPE'],
  ])('%s is a typed error', (_, f, code) => {
    expect(() => scope(() => f().y)).toThrow(expect.objectContaining({ code }))
  })
})

describe('dropout between layers', () => {
  it('draws from seed and stream, and leaves a single layer alone', () =>
    scope(() => {
      const layer = (k: number, c: number): RecurrentWeights[] => [{ wih: wave(k, [16, c]), whh: wave(k + 1, [16, 4]) }]
      const x = wave(0, [2, 5, 3])
      const y = (options: RecurrentOptions): string => bits(lstm(x, [layer(1, 3), layer(3, 4)], options).y)
      expect(y({ dropout: 0.5, seed: 1 })).toBe(y({ dropout: 0.5, seed: 1 }))
      expect(y({ dropout: 0.5, seed: 1 })).not.toBe(y({ dropout: 0.5, seed: 2 }))
      expect(y({ dropout: 0.5, seed: 1 })).not.toBe(y({}))
      expect(bits(lstm(x, [layer(1, 3)], { dropout: 0.5 }).y)).toBe(bits(lstm(x, [layer(1, 3)]).y))
    }))
})
