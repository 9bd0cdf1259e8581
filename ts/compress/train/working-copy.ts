/**
 * A model to train: its own copies of everything that a step changes (trainable weights, running statistics), so that the model it was made
 * from stays as it is whatever happens.
 */
import type { RawTensor } from '../../base/dtype.js'
import { CheckpointError, NumericError } from '../../base/errors.js'
import { sameShape } from '../../base/shape.js'
import { distinctLeaves, join, Model, weightKind, type Leaf, type Module, type Weight } from '../../nn/index.js'
import { assign, countNonfinite, maskApply } from '../../ops/index.js'
import { fromRaw, keep, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import type { BesideValue } from './task.js'

/** The tree with some weights and state tensors exchanged, by path. */
export function rebuild(root: Module, weights: ReadonlyMap<string, Weight>, state: ReadonlyMap<string, Tensor>): Module {
  const walk = (module: Module, path: string): Module => {
    const swap = <T>(record: Readonly<Record<string, T>>, by: (name: string, value: T) => T): Readonly<Record<string, T>> =>
      Object.fromEntries(Object.entries(record).map(([name, value]) => [name, by(name, value)]))
    return {
      ...module,
      weights: swap(module.weights, (name, w) => weights.get(join(path, name)) ?? w),
      state: swap(module.state, (name, t) => state.get(join(path, name)) ?? t),
      children: swap(module.children, (name, child) => walk(child, join(path, name))),
    }
  }
  return walk(root, '')
}

/** Before the names of leaves that are no part of the model. */
export const BESIDE = '@'

const isTrainable = (w: Weight): boolean => w.trainable().length > 0

export class WorkingCopy {
  readonly model: Model
  /** A leaf that several layers share is there once, under the first path. */
  readonly leaves: ReadonlyMap<string, Leaf>
  readonly state: ReadonlyMap<string, Tensor>
  /** What is trained beside the model, by name; among `leaves` it stands under "@<name>". */
  readonly beside: ReadonlyMap<string, Tensor>
  readonly #weights: ReadonlyMap<string, Weight>
  readonly #running: ReadonlyMap<string, Tensor>

  constructor(source: Model, beside: ReadonlyMap<string, BesideValue> = new Map()) {
    const weights = new Map<string, Weight>()
    const copies = new Map<Weight, Weight>() // layers that share a weight share its copy
    for (const { path, weight } of source.weights()) {
      if (!isTrainable(weight)) continue
      const copy = copies.get(weight) ?? weightKind(weight.kind).restore(weight.parts(), weight.config(), weight.shape)
      copies.set(weight, copy)
      weights.set(path, copy)
    }
    const running = new Map([...source.state()].map(([path, t]) => [path, fromRaw(toRaw(t))]))
    this.model = new Model(rebuild(source.root, weights, running), source.info, source.extras)
    this.beside = new Map([...beside].map(([name, { shape, values }]) => [name, keep(tensor(values.slice(), shape))]))
    this.leaves = new Map([
      ...distinctLeaves(this.model),
      ...[...this.beside].map(([name, value]): [string, Leaf] => [BESIDE + name, { value, mask: null }]),
    ])
    // State of weights belongs to their copies.
    const own = [...weights].flatMap(([path, w]) =>
      Object.entries(w.state?.() ?? {}).map(([name, t]): [string, Tensor] => [`${path}#${name}`, t]),
    )
    this.state = new Map([...running, ...own])
    this.#running = running
    this.#weights = weights
  }

  /** Parts and state tensors as bytes. ERR_NUMERIC when a value is not finite: such a state must never reach a file. */
  save(step: number): Map<string, RawTensor> {
    this.checkFinite(step)
    const out = new Map<string, RawTensor>()
    for (const [path, weight] of this.#weights) for (const [name, raw] of Object.entries(weight.parts())) out.set(`${path}/${name}`, raw)
    for (const [path, t] of this.state) out.set(path, toRaw(t))
    for (const [name, t] of this.beside) out.set(`${BESIDE}${name}/value`, toRaw(t))
    return out
  }

  checkFinite(step: number): void {
    for (const [path, { value }] of this.leaves) checkFinite('train', 'weight', path, value, step)
    for (const [path, value] of this.state) checkFinite('train', 'state', path, value, step)
  }

  /**
   * Puts saved values in place. Masks of leaves stay unless `parts` asks for everything: weight rewinding keeps the mask and takes the
   * values, resuming takes both.
   */
  restore(saved: ReadonlyMap<string, RawTensor>, parts: 'all' | 'values'): void {
    for (const [path, leaf] of this.leaves) {
      // Values to begin with come from a training that had nothing beside, or something else.
      if (parts === 'values' && path.startsWith(BESIDE)) continue
      const weight = path.split('#')[0]!
      put(leaf.value, `${weight}/${leaf.stored?.value ?? leaf.part ?? 'value'}`, saved)
      if (leaf.mask && parts === 'all') put(leaf.mask, `${weight}/${leaf.stored?.mask ?? 'mask'}`, saved)
    }
    for (const [path, t] of this.state) put(t, path, saved)
  }

  /** Values under a 0 of their mask become 0. */
  applyMasks(): void {
    for (const { value, mask } of this.leaves.values()) if (mask) scope(() => assign(value, maskApply(value, mask)))
  }

  /** Takes over the masks and the state of another copy of the same model, not the values: what an average does before it is used. */
  follow(other: WorkingCopy): void {
    for (const [path, { mask }] of this.leaves) if (mask) assign(mask, other.leaves.get(path)!.mask!)
    for (const [path, t] of this.state) assign(t, other.state.get(path)!)
    this.applyMasks()
  }

  /** The trained model goes to the caller, who disposes it. Shares with the source what was not copied. */
  release(): Model {
    for (const t of this.beside.values()) t.dispose()
    return this.model
  }

  /** Frees the copies. */
  dispose(): void {
    for (const w of this.#weights.values()) w.dispose()
    for (const t of this.#running.values()) t.dispose()
    for (const t of this.beside.values()) t.dispose()
  }
}

function put(into: Tensor, name: string, saved: ReadonlyMap<string, RawTensor>): void {
  const raw = saved.get(name)
  if (!raw || raw.dtype !== into.dtype || !sameShape(raw.shape, into.shape))
    throw new CheckpointError(
      'ERR_CHECKPOINT',
      `training state: the saved state has ${raw ? `${raw.dtype}[${raw.shape}]` : 'nothing'} for ${name}, ${into} is needed`,
      {
        details: { reason: 'values' },
      },
    )
  scope(() => assign(into, fromRaw(raw)))
}

/** ERR_NUMERIC with the first bad index when a tensor holds NaN or infinity. */
export function checkFinite(where: string, what: string, path: string, t: Tensor, step?: number): void {
  if (scope(() => countNonfinite(t).item()) === 0) return
  const values = t.read()
  let index = 0
  while (Number.isFinite(Number(values[index]))) index++
  const at = step === undefined ? '' : ` at step ${step}`
  throw new NumericError('ERR_NUMERIC', `${where}: ${what} ${path} is ${values[index]} at index ${index}${at} (${t})`, {
    details: { stage: where, tensor: path, index, ...(step === undefined ? {} : { step }) },
  })
}
