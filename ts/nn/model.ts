/**
 * A model: a module tree plus what is needed to use it (task, classes, tokenizer, probe) and how it came to be (history).
 * Immutable: `withWeights` and `withInfo` return models that share everything else.
 */
import { OptionError } from '../base/errors.js'
import type { DType, RawTensor } from '../base/dtype.js'
import type { Json, JsonObject } from '../base/json-types.js'
import { sizeOf } from '../base/shape.js'
import { cpu, hasDevices, whereTensorLies, type Device } from '../native/device.js'
import { collectDisposables, scope, tensor, full, Tensor } from '../tensor/index.js'
import type { Rng } from './init.js'
import {
  join,
  moduleKind,
  parseConfig,
  run,
  type ForwardContext,
  type Module,
  type ModuleInput,
  type ModuleSpec,
  type WeightRole,
} from './module.js'
import { DenseWeight } from './weight/dense.js'
import type { Leaf, Weight } from './weight/weight.js'

/** A weight with its place: path "fc1.weight", the path of its layer "fc1", its role there. */
export interface PlacedWeight {
  readonly path: string
  readonly layer: string
  readonly name: string
  readonly role: WeightRole
  readonly module: Module
  readonly weight: Weight
}

export const modelTasks = ['classification', 'embedding', 'regression', 'language', 'tokens'] as const
export type ModelTask = (typeof modelTasks)[number]

/** Facts about a model that travel with it. Plain JSON. */
export interface ModelInfo {
  readonly name: string
  /** What the output means: class scores, an embedding, numbers, scores of the next token or of every token. */
  readonly task: ModelTask
  readonly classes?: readonly string[]
  /** Shape of one input, for example [1, 28, 28]; encoders have none. */
  readonly inputShape?: readonly number[]
  /** Values are scaled before the model sees them: (x - mean) / std; lists have one number for each element of an input. */
  readonly normalize?: { readonly mean: number | readonly number[]; readonly std: number | readonly number[] }
  /** What the numbers of an input are called, where it was trained on columns with names. */
  readonly inputNames?: readonly string[]
  /** What the numbers that a regression predicts are called. */
  readonly targets?: readonly string[]
  /** What was done, oldest first: training, passes. */
  readonly history: readonly Json[]
  readonly [key: string]: Json | undefined
}

export class Model {
  readonly root: Module
  readonly info: ModelInfo
  /** Named blobs that belong to the model: tokenizer vocabulary, probe. */
  readonly extras: Readonly<Record<string, RawTensor>>

  constructor(root: Module, info: ModelInfo, extras: Readonly<Record<string, RawTensor>> = {}) {
    this.root = root
    this.info = info
    this.extras = extras
  }

  /** Where its weights lie (the first of them; the processor for a model without any). */
  get device(): Device {
    return hasDevices() ? (firstTensor(this.root)?.device ?? cpu) : cpu
  }

  /** Output for one batch. Call inside a scope (or dispose the result). */
  forward(x: ModuleInput, context: Partial<ForwardContext> = {}): Tensor {
    const all: ForwardContext = { path: '', root: this.root, training: false, seed: 0, step: 0, ...context }
    if (!hasDevices()) return run(this.root, x, all)
    return whereTensorLies(x instanceof Tensor ? x : Object.values(x)[0], () => run(this.root, x, all))
  }

  /** The same with every temporary freed. */
  predict(x: ModuleInput): Tensor {
    return scope(() => this.forward(x))
  }

  /** Every output by name: those that the model names (imported graphs, their lists and texts left out), or `{ output }`. Call inside a scope. */
  forwardAll(x: ModuleInput, context: Partial<ForwardContext> = {}, output = 'output'): Record<string, Tensor> {
    const outputs = new Map<string, Tensor>()
    const first = this.forward(x, { ...context, outputs })
    return outputs.size === 0 ? { [output]: first } : Object.fromEntries(outputs)
  }

  /** The same with every temporary freed. */
  predictAll(x: ModuleInput): Record<string, Tensor> {
    return scope(() => this.forwardAll(x))
  }

  /** Every weight in depth-first order. */
  weights(): PlacedWeight[] {
    const out: PlacedWeight[] = []
    visit(this.root, '', (module, layer) => {
      const declared = moduleKind(module.kind).weights(module.config)
      for (const [name, weight] of Object.entries(module.weights))
        out.push({ path: join(layer, name), layer, name, role: declared[name]?.role ?? 'vector', module, weight })
    })
    return out
  }

  /** State tensors (running statistics) by path. */
  state(): Map<string, Tensor> {
    const out = new Map<string, Tensor>()
    visit(this.root, '', (module, layer) => {
      for (const [name, t] of Object.entries(module.state)) out.set(join(layer, name), t)
    })
    return out
  }

  /** Trainable leaves by path, in a fixed order. One that several layers share stands under the path of each. */
  leaves(): Map<string, Leaf> {
    const out = new Map<string, Leaf>()
    for (const { path, weight } of this.weights()) weight.trainable().forEach((leaf, i) => out.set(i === 0 ? path : `${path}#${i}`, leaf))
    return out
  }

  /** Numbers in the weights; a weight that several layers share counts once. */
  parameters(): number {
    let count = 0
    for (const weight of new Set(this.weights().map((w) => w.weight))) count += sizeOf(weight.shape)
    return count
  }

  /**
   * A copy in which the weights at the given paths are others. A weight that several layers share stays one: all of them get what is given for any of them,
   * the first given where there are several, unless a path has one of its own. Unknown paths are ERR_OPTION.
   */
  withWeights(changed: ReadonlyMap<string, Weight>): Model {
    const left = new Set(changed.keys())
    const shared = new Map<Weight, Weight>()
    for (const { path, weight } of this.weights()) {
      const w = changed.get(path)
      if (w && !shared.has(weight)) shared.set(weight, w)
    }
    const rebuild = (module: Module, layer: string): Module => {
      let weights = module.weights
      for (const [name, old] of Object.entries(module.weights)) {
        const path = join(layer, name)
        const w = changed.get(path) ?? shared.get(old)
        if (!w || w === old) continue
        weights = { ...weights, [name]: w }
      }
      let children = module.children
      for (const [name, child] of Object.entries(module.children)) {
        const next = rebuild(child, join(layer, name))
        if (next !== child) children = { ...children, [name]: next }
      }
      return weights === module.weights && children === module.children ? module : { ...module, weights, children }
    }
    for (const { path } of this.weights()) left.delete(path)
    if (left.size) throw new OptionError('ERR_OPTION', `withWeights: no weight at ${[...left].join(', ')}`)
    return new Model(rebuild(this.root, ''), this.info, this.extras)
  }

  withInfo(change: Partial<ModelInfo>): Model {
    return new Model(this.root, { ...this.info, ...change }, this.extras)
  }

  withExtras(change: Readonly<Record<string, RawTensor>>): Model {
    return new Model(this.root, this.info, { ...this.extras, ...change })
  }

  /** Architecture without values. */
  spec(): ModuleSpec {
    const of = (m: Module): ModuleSpec => ({
      kind: m.kind,
      config: m.config,
      ...(Object.keys(m.children).length ? { children: Object.fromEntries(Object.entries(m.children).map(([k, c]) => [k, of(c)])) } : {}),
    })
    return of(this.root)
  }

  /** Frees every tensor of the tree. Models that share parts with this one must not be used afterwards. */
  dispose(): void {
    for (const { weight } of this.weights()) weight.dispose()
    for (const t of this.state().values()) t.dispose()
  }
}

/** Paths of the layers that hold each weight, in the model's order: several where they share it. */
export function placesOf(model: Model): Map<Weight, string[]> {
  const out = new Map<Weight, string[]>()
  for (const { path, weight } of model.weights()) out.set(weight, [...(out.get(weight) ?? []), path])
  return out
}

/** The leaves of a model with each tensor once, under the first path that has it: what derivatives are taken for. */
export function distinctLeaves(model: Model): Map<string, Leaf> {
  const seen = new Set<Tensor>()
  return new Map([...model.leaves()].filter(([, { value }]) => !seen.has(value) && seen.add(value)))
}

function firstTensor(module: Module): Tensor | undefined {
  for (const held of [...Object.values(module.weights), ...Object.values(module.state), ...Object.values(module.children)]) {
    const found =
      held instanceof Tensor ? held : 'weights' in held ? firstTensor(held) : ([...collectDisposables(held)][0] as Tensor | undefined)
    if (found) return found
  }
  return undefined
}

function visit(module: Module, path: string, see: (module: Module, path: string) => void): void {
  see(module, path)
  for (const [name, child] of Object.entries(module.children)) visit(child, join(path, name), see)
}

/** How to get the weight or state at a path: from a file, or freshly initialised. */
export interface ValueSource {
  weight(path: string, shape: readonly number[], init: (rng: Rng) => Float32Array): Weight
  state(path: string, shape: readonly number[], value: number, dtype?: DType): Tensor
}

/** Values from a generator: a new, untrained model. */
export function freshValues(rng: Rng): ValueSource {
  return {
    weight: (_path, shape, init) => new DenseWeight(tensor(init(rng), shape)),
    state: (_path, shape, value, dtype) => full(shape, value, dtype),
  }
}

/** Turns a spec into a module tree with values. */
export function build(spec: ModuleSpec, values: ValueSource, path = ''): Module {
  const kind = moduleKind(spec.kind)
  const config: JsonObject = parseConfig(kind, spec.config)
  const weights = Object.fromEntries(
    Object.entries(kind.weights(config)).map(([name, w]) => [name, values.weight(join(path, name), w.shape, w.init)]),
  )
  const state = Object.fromEntries(
    Object.entries(kind.state?.(config) ?? {}).map(([name, s]) => [name, values.state(join(path, name), s.shape, s.value, s.dtype)]),
  )
  const specs = spec.children ?? kind.children?.(config) ?? {}
  const children = Object.fromEntries(Object.entries(specs).map(([name, child]) => [name, build(child, values, join(path, name))]))
  return { kind: spec.kind, config, weights, state, children }
}
