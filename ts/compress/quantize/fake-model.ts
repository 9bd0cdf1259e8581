/** A model made ready for quantization-aware training, and back: dense and masked weights become fake-quantized ones, these become codes. */
import { isTersorError } from '../../base/errors.js'
import type { Dataset } from '../../data/dataset.js'
import { pairsInStructure, pairsInTrace, trace } from '../../graph/index.js'
import {
  FakeInput,
  FakeWeight,
  join,
  Model,
  moduleKind,
  type FakeConfig,
  type FakeInputConfig,
  type Module,
  type PlacedWeight,
  type Weight,
} from '../../nn/index.js'
import { callOp, scope, tensor } from '../../tensor/index.js'
import { checkFinite } from '../train/working-copy.js'
import { valuesOf } from '../values.js'
import { someInput } from './rescale.js'

/** How one weight trains. `step`: where a learned step of the input begins. */
export interface FakePlan {
  readonly weight: FakeConfig
  readonly input?: { readonly config: FakeInputConfig; readonly step?: number }
}

/** Floating matrices, kernels and tables with one leaf of values. */
export function canTrainFake({ weight }: PlacedWeight): boolean {
  const leaves = weight.trainable()
  return (
    (weight.kind === 'dense' || weight.kind === 'masked') && leaves.length === 1 && weight.shape.length >= 2 && leaves[0]!.value.size > 0
  )
}

/** Layers that hand their input to the weight: those whose products are known. Recurrent layers and tables use values alone. */
export function quantizesInput({ role, name, module }: PlacedWeight): boolean {
  return (role === 'matrix' || role === 'kernel') && name === 'weight' && moduleKind(module.kind).columns !== undefined
}

/**
 * Paths of batch norms by the path of the weight before each: the layer's output goes into the norm, as it is and alone, and has as many channels. Found by the
 * structure (sequential containers, imported graphs); of other modules by one run on two examples of the data, or on what the model says that it takes. A norm whose place
 * is not known that way has no weight; nor has one whose weight other layers share.
 */
export function normsBehind(model: Model, data?: Dataset): Map<string, string> {
  const pairs = pairsInStructure(model.root)
  const norms = batchNorms(model.root)
  if (norms.length > pairs.size) for (const [layer, norm] of tracedPairs(model, data)) pairs.set(layer, norm)
  const uses = new Map<Weight, number>()
  for (const { weight } of model.weights()) uses.set(weight, (uses.get(weight) ?? 0) + 1)
  return new Map(
    model.weights().flatMap(({ path, layer, name, weight }): [string, string][] => {
      const norm = name === 'weight' && uses.get(weight) === 1 ? pairs.get(layer) : undefined
      return norm === undefined ? [] : [[path, norm]]
    }),
  )
}

function tracedPairs(model: Model, data: Dataset | undefined): Map<string, string> {
  return scope(() => {
    try {
      return pairsInTrace(model, trace(model, someInput(model, data)))
    } catch (error) {
      // A model that does not say what it takes, or does not run on it.
      if (isTersorError(error)) return new Map<string, string>()
      throw error
    }
  })
}

/** Paths of the batch norms of a model. */
export function batchNorms(root: Module): string[] {
  const walk = (module: Module, path: string): string[] => [
    ...(module.kind === 'batchNorm' ? [path] : []),
    ...Object.entries(module.children).flatMap(([name, child]) => walk(child, join(path, name))),
  ]
  return walk(root, '')
}

/**
 * The model with the planned weights fake-quantized, and with norms that keep their statistics where `frozen`. Layers that share a weight share the new one. It owns
 * the new weights alone.
 */
export function fakeModel(
  model: Model,
  targets: readonly PlacedWeight[],
  planOf: (target: PlacedWeight) => FakePlan,
  frozen: boolean,
): Model {
  const made = new Map<Weight, FakeWeight>()
  const changed = new Map<string, Weight>()
  try {
    for (const target of targets) {
      const { weight, path } = target
      const known = made.get(weight) ?? fakeOf(target, planOf(target))
      made.set(weight, known)
      changed.set(path, known)
    }
  } catch (error) {
    for (const w of made.values()) w.dispose()
    throw error
  }
  const next = model.withWeights(changed)
  return frozen
    ? new Model(
        mapped(next.root, (m) => (m.kind === 'batchNorm' ? { ...m, config: { ...m.config, frozen: true } } : m)),
        next.info,
        next.extras,
      )
    : next
}

function fakeOf({ path, weight }: PlacedWeight, { weight: config, input }: FakePlan): FakeWeight {
  const { value, mask } = weight.trainable()[0]!
  checkFinite('quantize/qat', 'weight', path, value)
  return scope(() =>
    FakeWeight.begin(config, {
      value: tensor(valuesOf(value), value.shape),
      mask: mask && callOp('copy', [mask])[0]!,
      input: input ? FakeInput.begin(input.config, input.step) : null,
    }),
  )
}

/** The trained model with codes for the fake-quantized weights, which are freed, and the configurations of `like`. */
export function hardenModel(trained: Model, like: Model): Model {
  const codes = new Map<Weight, Weight>()
  const changed = new Map<string, Weight>()
  try {
    for (const { path, weight } of trained.weights()) {
      if (!(weight instanceof FakeWeight)) continue
      const hard = codes.get(weight) ?? weight.hardened(trained.root)
      codes.set(weight, hard)
      changed.set(path, hard)
    }
  } catch (error) {
    for (const w of codes.values()) w.dispose()
    throw error
  }
  const next = trained.withWeights(changed)
  for (const weight of codes.keys()) weight.dispose()
  return new Model(withConfigs(next.root, like.root), next.info, next.extras)
}

function mapped(module: Module, change: (m: Module) => Module): Module {
  const children = Object.fromEntries(Object.entries(module.children).map(([name, child]) => [name, mapped(child, change)]))
  return change({ ...module, children })
}

function withConfigs(module: Module, like: Module): Module {
  const children = Object.fromEntries(
    Object.entries(module.children).map(([name, child]) => [name, withConfigs(child, like.children[name]!)]),
  )
  return { ...module, config: like.config, children }
}
