/**
 * Modules are data: kind, configuration, weights, state, children. What a kind does stands in its ModuleKind; `moduleKinds` lists them. A tree is
 * never changed in place; surgery returns a copy that shares untouched nodes.
 */
import { ownValue } from '../base/own.js'
import { type z } from 'zod'
import { ModelFormatError, OptionError } from '../base/errors.js'
import type { DType } from '../base/dtype.js'
import type { JsonObject } from '../base/json-types.js'
import type { Shape } from '../base/shape.js'
import { done } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import type { ChannelFlow, ChannelInput, Channels } from './channels.js'
import type { Rng } from './init.js'
import type { KeyValueCache } from './key-value-cache.js'
import type { Weight } from './weight/weight.js'

/** How a weight is used: matrix [out, in], kernel [O, C, kh, kw], table [rows, width]; vectors (biases, norms) are left alone by passes. */
export type WeightRole = 'matrix' | 'kernel' | 'table' | 'vector'

export interface Module {
  readonly kind: string
  readonly config: JsonObject
  readonly weights: Readonly<Record<string, Weight>>
  /** Not trained, but part of the model: running statistics. Updated in place by the trainer. */
  readonly state: Readonly<Record<string, Tensor>>
  readonly children: Readonly<Record<string, Module>>
}

/** What a model takes: one tensor, or named ones (an encoder: ids, mask). */
export type ModuleInput = Tensor | Readonly<Record<string, Tensor>>

export interface ForwardContext {
  /** Dotted path of the module that runs. "" is the root. */
  readonly path: string
  /** The model's root, for those that must see a neighbour (a folded batch norm). */
  readonly root?: Module
  readonly training: boolean
  /** Seed of the run and number of the step: dropout draws from (seed, step, path). */
  readonly seed: number
  readonly step: number
  /** Sees the input of every layer with a weight (calibration, sensitivity). */
  readonly observe?: (path: string, input: Tensor) => void
  /** Sees what every module gives, inner modules first (the search for the first value that is not finite). */
  readonly output?: (path: string, y: Tensor) => void
  /** Collects new values of state tensors while training, by path of the state ("blocks.0.norm.mean"). */
  readonly stateUpdates?: Map<string, Tensor>
  /**
   * State that goes on from one window of a long sequence to the next, by path ("rnn.h" [layers * directions, B, H]): recurrent layers begin with
   * what stands here (zeros where nothing does) and leave their last state.
   */
  readonly carried?: Map<string, Tensor>
  /** Collects every output of a model that has several, by name. */
  readonly outputs?: Map<string, Tensor>
  /** Tables by position are made for every position that the model has, and cut, masks of ops alone: a graph that is written then reaches as far. */
  readonly wholeTables?: boolean
  /** Keys and values of the tokens before x: decoders then take only the new tokens. */
  readonly cache?: KeyValueCache
}

export interface ModuleKind<C extends JsonObject = JsonObject> {
  readonly kind: string
  readonly config: z.ZodType<C>
  /**
   * Such a layer may change places with the next one without changing a value or a gradient: 'clamps' every element alike (max(x, 0)), before one
   * that 'selects' the largest of each window. Containers run the selection first: the clamp then sees fewer elements.
   */
  readonly order?: (config: C) => 'clamps' | 'selects' | undefined
  /**
   * This layer and the one that follows it as a single computation of the same values and gradients, where there is a faster one; the next layer
   * has no weights. Containers then run the result in place of both.
   */
  readonly absorb?: (module: Module, config: C, next: Module) => ModuleKind<C>['forward'] | undefined
  /** Shape and role of each weight; what a file must hold. Optional weights are left out when the configuration has none. */
  readonly weights: (
    config: C,
  ) => Readonly<Record<string, { readonly shape: Shape; readonly role: WeightRole; readonly init: (rng: Rng) => Float32Array }>>
  /** `dtype` is f32 unless it says otherwise (tables of integers). */
  readonly state?: (config: C) => Readonly<Record<string, { readonly shape: Shape; readonly value: number; readonly dtype?: DType }>>
  /** Fixed children by the configuration (containers take theirs from outside instead). */
  readonly children?: (config: C) => Readonly<Record<string, ModuleSpec>>
  readonly forward: (module: Module, config: C, x: ModuleInput, context: ForwardContext) => Tensor
  /**
   * The input as the layer's products see it: [groups, K, N], where the weight is [groups, rows / groups, K]. For layers that are linear in their one
   * weight `weight`: what compression knows of a layer's input comes from here.
   */
  readonly columns?: (config: C, x: Tensor) => Tensor
  /**
   * How channels go through: which slices of its tensors go with which units, and what the result carries (channels.ts). A kind without it is left alone by
   * whatever takes channels away, with all that is in it.
   */
  readonly channels?: (flow: ChannelFlow, config: C, x: ChannelInput, module: Module) => Channels | null
  /** True where the module is x + f(x), so that it may be left out of a model: what comes in then goes on as it is. */
  readonly skippable?: (config: C) => boolean
}

/** An architecture without values: what `build` turns into a Module and what a file's header holds. */
export interface ModuleSpec {
  readonly kind: string
  readonly config: JsonObject
  readonly children?: Readonly<Record<string, ModuleSpec>>
}

const kinds = new Map<string, ModuleKind>()

/** Registers a module kind; returns a function that makes its spec with a checked configuration. */
export function defineModule<C extends JsonObject>(
  kind: ModuleKind<C>,
): (config: C, children?: Readonly<Record<string, ModuleSpec>>) => ModuleSpec {
  kinds.set(kind.kind, kind as unknown as ModuleKind)
  return (config, children) => {
    const parsed = parseConfig(kind as unknown as ModuleKind, config)
    return { kind: kind.kind, config: parsed, ...(children ? { children } : {}) }
  }
}

export function moduleKind(name: string): ModuleKind {
  const kind = kinds.get(name)
  if (!kind)
    throw new ModelFormatError('ERR_MODEL_FORMAT', `module: unknown kind ${JSON.stringify(name)}; known: ${[...kinds.keys()].join(', ')}`)
  return kind
}

export function parseConfig(kind: ModuleKind, config: JsonObject): JsonObject {
  const parsed = kind.config.safeParse(config)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]!
  throw new OptionError('ERR_OPTION', `${kind.kind}: ${issue.path.join('.') || 'configuration'}: ${issue.message}`, {
    details: { pointer: `/${issue.path.join('/')}` },
  })
}

/** Runs a module. Kinds call `runChild` for theirs. */
export function run(module: Module, x: ModuleInput, context: ForwardContext): Tensor {
  const y = moduleKind(module.kind).forward(module, module.config, x, context)
  context.output?.(context.path, y)
  return y
}

/** `done(t)` for what a module made and nobody else holds: whoever looks on may hold it. */
export function release(t: Tensor, context: ForwardContext): void {
  if (!context.observe && !context.output) done(t)
}

export function runChild(module: Module, name: string, x: ModuleInput, context: ForwardContext): Tensor {
  const child = ownValue(module.children, name)
  if (!child) throw new ModelFormatError('ERR_MODEL_FORMAT', `${module.kind}: no child named ${name} at "${context.path}"`)
  return run(child, x, { ...context, path: join(context.path, name) })
}

export function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

/** The input as one tensor; kinds that take named inputs read them themselves. */
export function single(kind: string, x: ModuleInput): Tensor {
  if ('handle' in x) return x as Tensor
  throw new OptionError('ERR_OPTION', `${kind}: takes one tensor, got named inputs ${Object.keys(x).join(', ')}`)
}

/** The leaf or the dense values of an optional vector weight (bias, gamma). */
export function vector(module: Module, name: string): Tensor | null {
  return module.weights[name]?.dense() ?? null
}
