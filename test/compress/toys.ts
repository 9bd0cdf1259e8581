/** Small nets and data on which training takes a fraction of a second. */
import { Rng } from '../../ts/base/rng.js'
import { numberDataset, type NumberDataset } from '../../ts/data/dataset.js'
import {
  activation,
  batchNorm,
  build,
  conv2d,
  dropout,
  flatten,
  freshValues,
  linear,
  maxPool2d,
  Model,
  sequential,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import type { TrainSettingsInput } from '../../ts/compress/train/settings.js'

/** Points around `classes` centres in `width` dimensions: separable, but not without training. */
export function blobs(size: number, { width = 8, classes = 3, seed = 1, spread = 0.6 } = {}): NumberDataset {
  const centres = Rng.of(42, 'centres')
  const centre = Array.from({ length: classes * width }, () => centres.normal())
  const rng = Rng.of(seed, 'blobs')
  const features = new Float32Array(size * width)
  const labels = new Int32Array(size)
  for (let i = 0; i < size; i++) {
    const label = (labels[i] = rng.int(classes))
    for (let j = 0; j < width; j++) features[i * width + j] = centre[label * width + j]! + spread * rng.normal()
  }
  return numberDataset({
    name: 'blobs',
    features,
    inputShape: [width],
    labels,
    classes: Array.from({ length: classes }, (_, i) => `c${i}`),
  })
}

/** 8 x 8 images with a bright bar, upright or lying, at some place. */
export function bars(size: number, seed = 1): NumberDataset {
  const rng = Rng.of(seed, 'bars')
  const features = new Float32Array(size * 64)
  const labels = new Int32Array(size)
  for (let i = 0; i < size; i++) {
    const label = (labels[i] = rng.int(2))
    const at = rng.int(8)
    for (let j = 0; j < 64; j++) {
      const on = label === 0 ? j % 8 === at : Math.floor(j / 8) === at
      features[i * 64 + j] = (on ? 1 : 0) + 0.3 * rng.normal()
    }
  }
  return numberDataset({ name: 'bars', features, inputShape: [1, 8, 8], labels, classes: ['upright', 'lying'] })
}

function model(name: string, root: ModuleSpec, inputShape: readonly number[], classes: number, seed: number): Model {
  const info = {
    name,
    task: 'classification' as const,
    classes: Array.from({ length: classes }, (_, i) => `c${i}`),
    inputShape,
    history: [],
  }
  return new Model(build(root, freshValues(Rng.of(seed, 'init'))), info)
}

export function mlp({ width = 8, hidden = 32, classes = 3, seed = 1, p = 0 } = {}): Model {
  const relu = activation({ function: 'relu' })
  const root = sequential({
    fc1: linear({ in: width, out: hidden, bias: true, init: 'he' }),
    relu1: relu,
    ...(p > 0 ? { drop: dropout({ p }) } : {}),
    fc2: linear({ in: hidden, out: hidden, bias: true, init: 'he' }),
    relu2: relu,
    fc3: linear({ in: hidden, out: classes, bias: true, init: 'he' }),
  })
  return model('toy mlp', root, [width], classes, seed)
}

/** Convolution, batch norm, pooling, dropout: everything that has state while training. */
export function convnet(seed = 1): Model {
  const root = sequential({
    conv: conv2d({ in: 1, out: 6, kernel: [3, 3], stride: [1, 1], padding: [1, 1], bias: true }),
    norm: batchNorm({ channels: 6, eps: 1e-5, momentum: 0.1 }),
    relu: activation({ function: 'relu' }),
    pool: maxPool2d({ kernel: [2, 2], stride: [2, 2] }),
    flat: flatten({}),
    drop: dropout({ p: 0.2 }),
    fc: linear({ in: 96, out: 2, bias: true, init: 'he' }),
  })
  return model('toy convnet', root, [1, 8, 8], 2, seed)
}

export const quick: TrainSettingsInput = {
  epochs: 4,
  batchSize: 32,
  optimizer: { kind: 'sgd', momentum: 0.9, nesterov: false, weightDecay: 1e-4 },
  schedule: { kind: 'multi-step', lr: 0.1, at: [0.5, 0.75], factor: 0.1 },
  seed: 7,
}

/** Every value of a model, as one string: equal only when all bits are. */
export function bitsOf(m: Model): string {
  const parts: string[] = []
  for (const { path, weight } of m.weights())
    for (const [name, raw] of Object.entries(weight.parts()))
      parts.push(`${path}/${name}:${weight.kind}:${Buffer.from(raw.data).toString('base64')}`)
  for (const [path, t] of m.state()) parts.push(`${path}:${Buffer.from(new Uint8Array(t.read().buffer)).toString('base64')}`)
  return parts.join('\n')
}
