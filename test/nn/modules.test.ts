/** Layers against their formulas, computed here number by number. */
import { describe, expect, it } from 'vitest'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import {
  activation,
  attention,
  avgPool2d,
  batchNorm,
  build,
  conv2d,
  dropout,
  embedding,
  encoderBlock,
  flatten,
  freshValues,
  layerNorm,
  linear,
  maxPool2d,
  Model,
  run,
  sequential,
  type Module,
  type ModuleInput,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { mul, sum } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { code, floats, leavesNothing, maxDifference, normal } from './lib.js'

const modelOf = (spec: ModuleSpec, seed = 1): Model =>
  new Model(build(spec, freshValues(Rng.of(seed))), { name: 't', task: 'embedding', history: [] })
const values = (m: Model, path: string): Float32Array =>
  floats(
    m
      .weights()
      .find((w) => w.path === path)!
      .weight.dense(),
  )
const close = (got: Tensor, expected: ArrayLike<number>, tolerance = 1e-5): void => {
  const y = floats(got)
  expect(y.length).toBe(expected.length)
  y.forEach((v, i) =>
    expect(Math.abs(v - expected[i]!), `element ${i}: ${v} against ${expected[i]}`).toBeLessThan(tolerance * (1 + Math.abs(expected[i]!))),
  )
}
/** Fills every weight with seeded values: fresh biases and norms are trivial. */
const shuffled = (m: Model): Model => {
  m.weights().forEach(({ weight }, i) => {
    const t = weight.dense()
    t.write(Rng.of(99, i).fillNormal(new Float32Array(t.size)))
  })
  return m
}

describe('linear', () => {
  it('is x W^T + b over any leading dimensions', () => {
    leavesNothing(() => {
      const m = shuffled(modelOf(linear({ in: 3, out: 2, bias: true, init: 'he' })))
      const [w, b] = [values(m, 'weight'), values(m, 'bias')]
      scope(() => {
        const x = normal([2, 4, 3], 2)
        const xs = floats(x)
        close(
          m.forward(x),
          Array.from(
            { length: 16 },
            (_, i) => b[i % 2]! + [0, 1, 2].reduce((s, k) => s + xs[Math.floor(i / 2) * 3 + k]! * w[(i % 2) * 3 + k]!, 0),
          ),
        )
        expect(() => m.forward(normal([2, 4]))).toThrowError(code('ERR_SHAPE'))
        expect(() => m.forward({ x })).toThrowError(code('ERR_OPTION', /linear: takes one tensor/))
      })
      m.dispose()
    })
  })

  it('starts within the bounds of its initialisation', () => {
    const he = modelOf(linear({ in: 50, out: 40, bias: true, init: 'he' }))
    const glorot = modelOf(linear({ in: 50, out: 40, bias: true, init: 'glorot' }))
    const largest = (m: Model): number => values(m, 'weight').reduce((a, v) => Math.max(a, Math.abs(v)), 0)
    expect(largest(he)).toBeLessThanOrEqual(Math.sqrt(6 / 50))
    expect(largest(he)).toBeGreaterThan(0.95 * Math.sqrt(6 / 50))
    expect(largest(glorot)).toBeLessThanOrEqual(Math.sqrt(6 / 90))
    expect(values(he, 'bias').every((v) => v === 0)).toBe(true)
    he.dispose()
    glorot.dispose()
  })
})

it('conv2d slides its kernel with stride and padding', () => {
  const m = shuffled(modelOf(conv2d({ in: 2, out: 3, kernel: [3, 2], stride: [2, 1], padding: [1, 0], bias: true })))
  const [w, b] = [values(m, 'weight'), values(m, 'bias')]
  scope(() => {
    const x = normal([2, 2, 5, 4], 2)
    const xs = floats(x)
    const y = m.forward(x)
    expect(y.shape).toEqual([2, 3, 3, 3])
    const expected: number[] = []
    for (let n = 0; n < 2; n++)
      for (let o = 0; o < 3; o++)
        for (let i = 0; i < 3; i++)
          for (let j = 0; j < 3; j++) {
            let s = b[o]!
            for (let c = 0; c < 2; c++)
              for (let u = 0; u < 3; u++)
                for (let v = 0; v < 2; v++) {
                  const row = i * 2 + u - 1
                  if (row >= 0 && row < 5) s += w[((o * 2 + c) * 3 + u) * 2 + v]! * xs[((n * 2 + c) * 5 + row) * 4 + j + v]!
                }
            expected.push(s)
          }
    close(y, expected)
  })
  m.dispose()
})

it('pooling takes the largest and the mean', () => {
  scope(() => {
    const x = tensor([1, 2, 5, 6, 3, 4, 7, 8, -1, -2, -5, -6, -3, -4, -7, -8], [1, 1, 4, 4])
    close(modelOf(maxPool2d({ kernel: [2, 2], stride: [2, 2] })).forward(x), [4, 8, -1, -5])
    close(modelOf(avgPool2d({ kernel: [2, 2], stride: [2, 2] })).forward(x), [2.5, 6.5, -2.5, -6.5])
  })
})

it('layer norm gives each row mean 0 and variance 1, then scales', () => {
  const m = modelOf(layerNorm({ width: 5, eps: 1e-5 }))
  m.weights()[0]!
    .weight.dense()
    .write(new Float32Array([1, 2, 3, 4, 5]))
  m.weights()[1]!.weight.dense().write(new Float32Array(5).fill(0.5))
  scope(() => {
    const x = normal([3, 5], 4, 7)
    const xs = floats(x)
    close(
      m.forward(x),
      Array.from({ length: 15 }, (_, i) => {
        const row = xs.subarray(5 * Math.floor(i / 5), 5 * Math.floor(i / 5) + 5)
        const mean = row.reduce((a, v) => a + v, 0) / 5
        const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / 5
        return ((xs[i]! - mean) / Math.sqrt(variance + 1e-5)) * ((i % 5) + 1) + 0.5
      }),
    )
  })
  m.dispose()
})

describe('batch norm', () => {
  const spec = batchNorm({ channels: 2, eps: 1e-5, momentum: 0.1 })
  it('uses the batch while training and says the new running statistics', () => {
    leavesNothing(() => {
      const m = modelOf(spec)
      scope(() => {
        const x = tensor([1, 2, 3, 10, 20, 30, 5, 6, 7, 40, 50, 60], [2, 2, 3])
        const updates = new Map<string, Tensor>()
        const y = m.forward(x, { training: true, stateUpdates: updates })
        const group = floats(y).filter((_, i) => i % 6 < 3)
        expect(group.reduce((a, v) => a + v, 0)).toBeCloseTo(0, 5)
        expect(group.reduce((a, v) => a + v * v, 0) / 6).toBeCloseTo(1, 3)
        expect([...updates.keys()]).toEqual(['mean', 'variance'])
        close(updates.get('mean')!, [0.1 * 4, 0.1 * 35])
        const variance = (list: number[]): number =>
          list.reduce((a, v) => a + (v - list.reduce((p, q) => p + q, 0) / list.length) ** 2, 0) / list.length
        close(updates.get('variance')!, [0.9 + 0.1 * variance([1, 2, 3, 5, 6, 7]), 0.9 + 0.1 * variance([10, 20, 30, 40, 50, 60])], 1e-4)
        // The model itself is not changed by a forward pass.
        close(m.state().get('mean')!, [0, 0])
      })
      m.dispose()
    })
  })
  it('uses the running statistics otherwise', () => {
    const m = modelOf(spec)
    m.state()
      .get('mean')!
      .write(new Float32Array([1, 2]))
    m.state()
      .get('variance')!
      .write(new Float32Array([4, 9]))
    scope(() =>
      close(
        m.forward(tensor([1, 5, 2, 8], [2, 2])),
        [0, 1, 0.5, 2].map((v, i) => v / Math.sqrt(i % 2 ? 1 + 1e-5 / 9 : 1 + 1e-5 / 4)),
      ),
    )
    m.dispose()
  })
})

it('embedding picks rows', () => {
  const m = modelOf(embedding({ rows: 4, width: 3 }))
  const table = values(m, 'weight')
  scope(() => {
    const y = m.forward(tensor(new Int32Array([2, 0, 3, 2]), [2, 2]))
    expect(y.shape).toEqual([2, 2, 3])
    expect([...floats(y)]).toEqual([2, 0, 3, 2].flatMap((r) => [...table.subarray(3 * r, 3 * r + 3)]))
    expect(() => m.forward(tensor(new Int32Array([4])))).toThrowError(code('ERR_SHAPE'))
  })
  m.dispose()
})

describe('dropout', () => {
  const spec = sequential({ drop: dropout({ p: 0.25 }) })
  const m = modelOf(spec)
  const ones = (): Tensor => tensor(new Float32Array(4000).fill(1), [4, 1000])
  it('does nothing outside of training', () => scope(() => expect(maxDifference(m.forward(ones()), ones())).toBe(0)))
  it('drops the given share and keeps the mean', () => {
    scope(() => {
      const y = floats(m.forward(ones(), { training: true, seed: 1 }))
      const kept = y.filter((v) => v !== 0)
      expect(new Set(kept)).toEqual(new Set([Math.fround(1 / 0.75)]))
      expect(Math.abs(kept.length / 4000 - 0.75)).toBeLessThan(4 * Math.sqrt((0.75 * 0.25) / 4000))
    })
  })
  it('depends on seed, step and place, and on nothing else', () => {
    const two = modelOf(sequential({ drop: dropout({ p: 0.25 }), more: dropout({ p: 0.25 }) }))
    const mask = (model: Model, context: { seed: number; step: number }): string =>
      scope(() =>
        floats(model.forward(ones(), { training: true, ...context }))
          .map(Math.sign)
          .join(''),
      )
    expect(mask(m, { seed: 1, step: 2 })).toBe(mask(m, { seed: 1, step: 2 }))
    const all = [
      mask(m, { seed: 1, step: 2 }),
      mask(m, { seed: 2, step: 2 }),
      mask(m, { seed: 1, step: 3 }),
      mask(two, { seed: 1, step: 2 }),
    ]
    expect(new Set(all).size).toBe(4)
  })
})

it('activations are the functions of their names', () => {
  const xs = [-2, -0.5, 0, 0.3, 4]
  const expected = {
    relu: xs.map((v) => Math.max(0, v)),
    tanh: xs.map(Math.tanh),
    sigmoid: xs.map((v) => 1 / (1 + Math.exp(-v))),
    gelu: [-0.04550026, -0.15426877, 0, 0.18537343, 3.9998733],
  }
  scope(() => {
    for (const [name, y] of Object.entries(expected)) close(modelOf(activation({ function: name as 'relu' })).forward(tensor(xs)), y, 1e-6)
    expect(modelOf(flatten({})).forward(normal([2, 3, 4])).shape).toEqual([2, 12])
  })
})

describe('attention', () => {
  it('is softmax(q k^T / sqrt(d)) v per head, then the output layer', () => {
    const m = shuffled(modelOf(attention({ in: 4, width: 6, out: 3, heads: 2, bias: true })))
    scope(() => {
      const x = normal([1, 3, 4], 5, 0.3)
      const apply = (name: string, rows: number[][]): number[][] => {
        const [w, b] = [values(m, `${name}.weight`), values(m, `${name}.bias`)]
        return rows.map((r) => Array.from(b, (bias, o) => bias + r.reduce((s, v, k) => s + v * w[o * r.length + k]!, 0)))
      }
      const rows = [0, 1, 2].map((i) => [...floats(x).subarray(4 * i, 4 * i + 4)])
      const [q, k, v] = ['query', 'key', 'value'].map((name) => apply(name, rows)) as [number[][], number[][], number[][]]
      const heard = rows.map((_, i) =>
        [0, 1].flatMap((h) => {
          const scores = rows.map((_r, j) => [0, 1, 2].reduce((s, d) => s + q[i]![3 * h + d]! * k[j]![3 * h + d]!, 0) / Math.sqrt(3))
          const top = Math.max(...scores)
          const weights = scores.map((s) => Math.exp(s - top))
          const total = weights.reduce((a, b) => a + b)
          return [0, 1, 2].map((d) => weights.reduce((s, w, j) => s + (w / total) * v[j]![3 * h + d]!, 0))
        }),
      )
      close(m.forward(x), apply('output', heard).flat(), 1e-4)
    })
    m.dispose()
  })

  it('does not hear what the mask hides', () => {
    const m = shuffled(modelOf(attention({ in: 4, width: 4, out: 4, heads: 2, bias: true })))
    scope(() => {
      const long = normal([1, 5, 4], 6)
      const short = tensor(floats(long).slice(0, 12), [1, 3, 4])
      const masked = m.forward({ x: long, mask: tensor([[1, 1, 1, 0, 0]]) })
      close(m.forward(short), floats(masked).slice(0, 12))
    })
    m.dispose()
  })

  it('needs a width that its heads share evenly', () => {
    expect(() => attention({ in: 4, width: 5, out: 4, heads: 2, bias: true })).toThrowError(code('ERR_OPTION', /multiple of heads/))
  })
})

it('an encoder block adds what its parts give', () => {
  const m = shuffled(modelOf(encoderBlock({ width: 8, heads: 2, hidden: 12, activation: 'relu', eps: 1e-6 })))
  scope(() => {
    const x = normal([2, 3, 8], 7)
    const part = (name: string, input: ModuleInput): Tensor =>
      run(m.root.children[name] as Module, input, { path: name, training: false, seed: 0, step: 0 })
    const h = floats(part('attention', part('norm1', x))).map((v, i) => v + floats(x)[i]!)
    const ht = tensor(h, [2, 3, 8])
    const up = tensor(
      floats(part('up', part('norm2', ht))).map((v) => Math.max(0, v)),
      [2, 3, 12],
    )
    const down = floats(part('down', up))
    close(
      m.forward(x),
      h.map((v, i) => v + down[i]!),
      1e-4,
    )
  })
  m.dispose()
})

it('gradients of a block agree with finite differences', () => {
  const m = shuffled(modelOf(encoderBlock({ width: 4, heads: 2, hidden: 6, activation: 'gelu', eps: 1e-3 })))
  const x = normal([1, 3, 4], 8)
  const weigh = normal([1, 3, 4], 9)
  const leaves = [...m.leaves()]
  const loss = (): number => scope(() => sum(mul(m.forward(x), weigh), [], false).item())
  const { value, grads } = valueAndGrad(
    () => sum(mul(m.forward(x), weigh), [], false),
    leaves.map(([, leaf]) => leaf.value),
  )
  expect(value.item()).toBeCloseTo(loss(), 5)
  leaves.forEach(([path, { value: p }], k) => {
    const at = (k * 7) % p.size
    const original = floats(p)
    const moved = (d: number): number => {
      const copy = original.slice()
      copy[at]! += d
      p.write(copy)
      return loss()
    }
    const numeric = (moved(0.01) - moved(-0.01)) / 0.02
    p.write(original)
    const exact = floats(grads[k]!)[at]!
    expect(Math.abs(numeric - exact), path).toBeLessThan(0.02 * (1 + Math.abs(exact)))
  })
  for (const t of [value, ...grads, x, weigh]) t.dispose()
  m.dispose()
})
