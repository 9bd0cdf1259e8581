/** Small random nets of every coupling: residual sums, concatenation by grouped convolutions, depthwise ones, norms, gates, flattening. */
import { Rng } from '../../ts/base/rng.js'
import { channelStructure, type UnitSet } from '../../ts/graph/index.js'
import {
  activation,
  avgPool2d,
  batchNorm,
  build,
  conv2d,
  convTranspose2d,
  DenseWeight,
  encoderBlock,
  flatten,
  freshValues,
  gate,
  globalAvgPool,
  groupNorm,
  linear,
  maxPool2d,
  Model,
  prelu,
  sequential,
  type ModelInfo,
  type ModuleInput,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { basicBlock, bottleneck, invertedResidual } from '../../ts/models/vision/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'

/** Values that leave nothing at 0 or 1: norms and running statistics are drawn too. */
export function modelOf(spec: ModuleSpec, info: Partial<ModelInfo>, seed = 1): Model {
  const rng = Rng.of(seed, 'net')
  const fresh = freshValues(rng)
  const root = build(spec, {
    weight: (path, shape, init) => {
      const values = init(rng)
      const vector = shape.length === 1
      return new DenseWeight(tensor(vector ? values.map((v) => v + 0.3 * rng.normal()) : values, shape))
    },
    state: (path, shape, value, dtype) => {
      const t = fresh.state(path, shape, value, dtype)
      t.write(Float32Array.from({ length: t.size }, () => value + 0.2 * rng.uniform()))
      return t
    },
  })
  return new Model(root, { name: 'random', task: 'classification', history: [], ...info })
}

/** A net of `n` random pieces on images [3, 8, 8]. */
export function randomNet(seed: number): Model {
  const rng = Rng.of(seed, 'net')
  const pick = <T>(list: readonly T[]): T => list[Math.floor(rng.uniform() * list.length)]!
  const layers: Record<string, ModuleSpec> = {}
  let c = 3
  const put = (spec: ModuleSpec): void => void (layers[`l${Object.keys(layers).length}`] = spec)
  const conv = (out: number, groups = 1): void => {
    put(conv2d({ in: c, out, kernel: [3, 3], padding: [1, 1], groups, bias: pick([true, false]) }))
    c = out
  }
  conv(pick([8, 12]))
  for (let i = 0; i < 5; i++) {
    const pieces = [
      () => conv(pick([8, 12, 16])),
      () => conv(c, c), // depthwise
      () => conv(2 * c, c), // depthwise with two filters a channel
      () => c % 4 === 0 && conv(pick([8, 12]), 4),
      () => put(batchNorm({ channels: c })),
      () => c % 4 === 0 && put(groupNorm({ channels: c, groups: 4 })),
      () => put(activation({ function: pick(['relu', 'silu', 'sigmoid', 'softplus']) })),
      () => put(prelu({ channels: c })),
      () => put(basicBlock({ in: c, out: c })),
      () => {
        put(basicBlock({ in: c, out: c + 4, stride: pick([1, 2]), shortcut: pick(['projection', 'pad']) }))
        c += 4
      },
      () => put(bottleneck({ in: c, width: 6, out: c })),
      () => put(invertedResidual({ in: c, out: c, expand: 2 })),
      () => {
        conv(16)
        put(gate({ function: pick(['glu', 'swiglu']), axis: 1 }))
        c = 8
      },
      () => {
        put(convTranspose2d({ in: c, out: 8, kernel: [2, 2], stride: [2, 2], groups: pick([1, c === 8 ? 8 : 1, c % 4 === 0 ? 4 : 1]) }))
        c = 8
        put(avgPool2d({ kernel: [2, 2], stride: [2, 2] }))
      },
    ]
    pick(pieces)()
  }
  if (pick([true, false])) {
    put(maxPool2d({ kernel: [2, 2], stride: [2, 2] }))
    put(flatten({}))
  } else put(globalAvgPool({}))
  const spec = sequential(layers)
  const width = scope(() => {
    const probe = modelOf(spec, {}, seed)
    const out = probe.predict(images(1)).shape[1]!
    probe.dispose()
    return out
  })
  put(linear({ in: width, out: 10, bias: true, init: 'he' }))
  put(activation({ function: 'gelu' }))
  put(linear({ in: 10, out: 4, bias: true, init: 'he' }))
  return modelOf(sequential(layers), { inputShape: [3, 8, 8] }, seed)
}

export function images(n: number, shape: readonly number[] = [3, 8, 8], seed = 5): Tensor {
  const rng = Rng.of(seed, 'net')
  const size = shape.reduce((a, b) => a * b, n)
  return tensor(
    Float32Array.from({ length: size }, () => rng.normal()),
    [n, ...shape],
  )
}

/** A random half of the units that may go. */
export function randomUnits(model: Model, seed: number, share = 0.5): UnitSet {
  const rng = Rng.of(seed, 'units')
  const out = new Set<number>()
  for (const g of channelStructure(model).groups) {
    if (g.fixed !== undefined) continue
    const gone = g.units.filter(() => rng.uniform() < share)
    for (const u of gone.slice(0, g.units.length - 1)) out.add(u)
  }
  return out
}

/** Largest difference of two models' outputs, against the largest output. */
export function difference(a: Model, b: Model, x: ModuleInput): number {
  return scope(() => {
    const [p, q] = [a.forward(x).read() as Float32Array, b.forward(x).read() as Float32Array]
    const scale = p.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-3)
    return p.reduce((m, v, i) => Math.max(m, Math.abs(v - q[i]!)), 0) / scale
  })
}

/** An encoder block with four heads before a classifier of [8, 8]: head 2 reaches no output. */
export function withSilentHead(): Model {
  const model = modelOf(
    sequential({
      b: encoderBlock({ width: 8, heads: 4, hidden: 16 }),
      flat: flatten({}),
      out: linear({ in: 64, out: 2, bias: true, init: 'he' }),
    }),
    { inputShape: [8, 8] },
  )
  const w = model
    .weights()
    .find((p) => p.path === 'b.attention.output.weight')!
    .weight.dense()
  w.write((w.read() as Float32Array).map((v, i) => (i % 8 === 4 || i % 8 === 5 ? 0 : v)))
  return model
}
