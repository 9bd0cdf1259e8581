/**
 * What compression bought on this machine: each layer that is not dense any more, timed beside a dense twin of the same values on the input that it meets
 * inside the model, and the whole model beside its dense twin. Runs alternate, medians count, so a change of the machine's speed meets both.
 */
import { OptionError } from '../base/errors.js'
import { DenseWeight, Model, type Module, type Weight } from '../nn/index.js'
import { callOp, keep, scope, type Tensor } from '../tensor/index.js'
import { session, type Session } from './session.js'
import { feedOf, ownTensor, type SessionInputs } from './values.js'

export interface LayerSpeed {
  /** Path of the layer; '' for the whole model. */
  readonly layer: string
  /** What its weight is: "int8 per channel, u8 input". */
  readonly weight: string
  /** What it was run on. */
  readonly input: string
  readonly denseMs: number
  readonly compressedMs: number
  /** denseMs / compressedMs: below 1 compression made it slower here. */
  readonly speedup: number
}

export interface SpeedOptions {
  /** Rounds of one dense and one compressed sample; default 15. */
  readonly rounds?: number
  /** Shortest sample in milliseconds; default 2. */
  readonly sampleMs?: number
}

export interface Speeds {
  readonly whole: LayerSpeed
  /** Layers with a weight that is neither dense nor masked, in depth-first order. */
  readonly layers: readonly LayerSpeed[]
  /** Those of them that did not get faster. */
  readonly slower: readonly LayerSpeed[]
}

const isCompressed = (w: Weight): boolean => w.kind !== 'dense' && w.kind !== 'masked'

/**
 * Times a compressed model and its layers beside dense twins.
 *
 * - rounds or sampleMs that are not positive: ERR_OPTION
 *
 * @example
 * const { layers, slower } = speeds(small, { data: new Float32Array(784), shape: [1, 784] })
 */
export function speeds(model: Model, inputs: SessionInputs, options: SpeedOptions = {}): Speeds {
  const { rounds = 15, sampleMs = 2 } = options
  if (!Number.isInteger(rounds) || rounds < 1) throw new OptionError('ERR_OPTION', `speeds: rounds must be an integer >= 1, got ${rounds}`)
  if (!(sampleMs > 0)) throw new OptionError('ERR_OPTION', `speeds: sampleMs must be > 0, got ${sampleMs}`)
  const timing = { rounds, sampleMs }
  const placed = model.weights().filter(({ weight }) => isCompressed(weight))
  const twins = new Map(placed.map(({ path, weight }) => [path, denseTwin(weight)]))
  const seen = layerInputs(model, inputs)
  try {
    const whole = { layer: '', weight: 'the whole model', ...compare(model, model.withWeights(twins), inputs, timing) }
    const layers = placed.flatMap(({ path, layer, module, weight }): LayerSpeed[] => {
      const x = seen.get(layer)
      if (!x) return []
      const alone = new Model(module, model.info)
      const twin: Module = { ...module, weights: { ...module.weights, [path.slice(layer ? layer.length + 1 : 0)]: twins.get(path)! } }
      return [{ layer, weight: weight.description, ...compare(alone, new Model(twin, model.info), x, timing) }]
    })
    return { whole, layers, slower: layers.filter((l) => l.speedup < 1) }
  } finally {
    for (const t of seen.values()) t.dispose()
    for (const w of twins.values()) w.dispose()
  }
}

function denseTwin(w: Weight): DenseWeight {
  return scope(() => keep(new DenseWeight(keep(callOp('copy', [w.dense()])[0]!))))
}

/** The input of each layer with a weight, by path: copies. */
function layerInputs(model: Model, inputs: SessionInputs): Map<string, Tensor> {
  const seen = new Map<string, Tensor>()
  const feed = feedOf(inputs)
  scope(() => {
    const tensors = feed.values.map((v, i) => ownTensor(v, feed.dtypes[i]!, model.device))
    const x = feed.single ? tensors[0]! : Object.fromEntries(tensors.map((t, i) => [feed.names[i]!, t]))
    model.forward(x, { observe: (path, input) => void (seen.has(path) || seen.set(path, keep(callOp('copy', [input])[0]!))) })
  })
  return seen
}

type Timing = Required<SpeedOptions>

function compare(
  compressed: Model,
  dense: Model,
  inputs: SessionInputs,
  { rounds, sampleMs }: Timing,
): Omit<LayerSpeed, 'layer' | 'weight'> {
  const [small, plain] = [session(compressed), session(dense)]
  try {
    const calls = [callsFor(small, inputs, sampleMs), callsFor(plain, inputs, sampleMs)] as const
    const times: [number[], number[]] = [[], []]
    for (let r = 0; r < rounds; r++) {
      times[0].push(sample(small, inputs, calls[0]))
      times[1].push(sample(plain, inputs, calls[1]))
    }
    const [compressedMs, denseMs] = [median(times[0]), median(times[1])]
    return { input: feedOf(inputs).key, denseMs, compressedMs, speedup: denseMs / compressedMs }
  } finally {
    small.dispose()
    plain.dispose()
  }
}

/** Calls that take a sample's time. */
function callsFor(s: Session, inputs: SessionInputs, sampleMs: number): number {
  sample(s, inputs, 1)
  return Math.max(1, Math.min(1000, Math.ceil(sampleMs / Math.max(1e-4, sample(s, inputs, 1)))))
}

function sample(s: Session, inputs: SessionInputs, calls: number): number {
  const began = performance.now()
  for (let i = 0; i < calls; i++) s.runSync(inputs)
  return (performance.now() - began) / calls
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}
