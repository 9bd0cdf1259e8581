/** Loss, gradients, new running statistics and carried state of one batch, in parts when that was asked for. */
import { valueAndGrad } from '../../autograd/index.js'
import { OptionError } from '../../base/errors.js'
import type { ForwardContext, ModuleInput } from '../../nn/index.js'
import { axpby, scaleShift, widened, withPrecision } from '../../ops/index.js'
import { scope, zeros, type Tensor } from '../../tensor/index.js'
import type { Carried, CarriedMap } from './carried.js'
import type { TrainSettings } from './settings.js'
import type { CountedLoss, Look, TrainTask } from './task.js'
import type { WorkingCopy } from './working-copy.js'

export interface Gradients {
  readonly loss: number
  /** Losses that `loss` is the mean of. */
  readonly count: number
  /** By leaf path, times the loss scale. */
  readonly grads: ReadonlyMap<string, Tensor>
  /** New values of the state tensors. */
  readonly state: ReadonlyMap<string, Tensor>
  /** Recurrent state behind each part. */
  readonly carried: readonly CarriedMap[]
}

/** One training: what stays the same from batch to batch. */
export interface LossOf {
  readonly copy: WorkingCopy
  readonly task: TrainTask
  readonly settings: TrainSettings
  /** With tasks that carry state. */
  readonly carried: Carried | undefined
  /** What the task's `prepare` gave for its loss. */
  readonly prepared?: unknown
}

/**
 * Call inside a scope. In parts, every figure is the mean over the parts, weighted by what they count: for gradients that is the gradient of the
 * batch (batch norm takes the statistics of each part).
 */
export function gradients(of: LossOf, batch: unknown, step: number, scale: number): Gradients {
  const { copy, task, settings } = of
  const accumulate = settings.accumulate ?? 1
  const parts = accumulate === 1 ? [batch] : task.split(batch, accumulate)
  if (parts.length === 1) return partGradients(of, parts[0], 0, step, scale)
  const grads = new Map([...copy.leaves].map(([path, { value }]) => [path, zeros(value.shape, value.dtype)]))
  const state = new Map<string, Tensor>()
  const carried: CarriedMap[] = []
  let [loss, total] = [0, 0]
  parts.forEach((batchPart, k) => {
    scope(() => {
      const part = partGradients(of, batchPart, k, step * parts.length + k, scale)
      // The running mean: what a part counts is known when its loss is.
      total += part.count
      const share = total > 0 ? part.count / total : 0
      loss += (part.loss - loss) * share
      for (const [path, sum] of grads) axpby(sum, part.grads.get(path)!, share, 1 - share)
      for (const [path, t] of part.state) {
        if (!state.has(path)) state.set(path, zeros(t.shape, t.dtype))
        axpby(state.get(path)!, t, share, 1 - share)
      }
      carried.push(...part.carried)
      // What is returned outlives this part.
      return [...state.values(), ...part.carried.flatMap((map) => [...map.values()])]
    })
  })
  return { loss, count: total, grads, state, carried }
}

/** The loss as the task has it, with a forward pass that does what the settings say. `more`: for whoever looks on. */
export function taskLoss(
  { copy: { model, beside }, task, settings, carried, prepared }: LossOf,
  batch: unknown,
  part: number,
  step: number,
  more: Partial<ForwardContext> = {},
): CountedLoss & { readonly state: ReadonlyMap<string, Tensor>; readonly carried: CarriedMap } {
  const { seed, precision = 'f32' } = settings
  const state = new Map<string, Tensor>()
  const map: CarriedMap = carried?.fork(part) ?? new Map<string, Tensor>()
  const goesOn = carried ? { carried: map } : {}
  const context: Partial<ForwardContext> = { training: true, seed, step, stateUpdates: state, ...goesOn, ...more }
  const forward = (x: ModuleInput, look?: Look): Tensor =>
    withPrecision(precision, () => widened(model.forward(x, look ? { ...context, output: both(more.output, look) } : context)))
  const found = task.loss({ forward, model, settings, step, beside, prepared, ...goesOn }, batch)
  const { loss, count } = 'count' in found ? found : { loss: found, count: task.count(batch) }
  if (loss.size !== 1) throw new OptionError('ERR_OPTION', `train: the loss of task ${task.kind} must be one number, got ${loss}`)
  return { loss, count, state, carried: map }
}

const both = (first: Look | undefined, second: Look): Look =>
  first
    ? (path, y) => {
        first(path, y)
        second(path, y)
      }
    : second

function partGradients(of: LossOf, batch: unknown, part: number, step: number, scale: number): Gradients {
  const { leaves } = of.copy
  const paths = [...leaves.keys()]
  const { value, grads, aux } = valueAndGrad(
    () => {
      const { loss, count, state, carried } = taskLoss(of, batch, part, step)
      return { value: scale === 1 ? loss : scaleShift(loss, scale, 0), aux: { count, state, carried } }
    },
    [...leaves.values()].map((leaf) => leaf.value),
  )
  return {
    loss: value.item() / scale,
    count: aux.count,
    grads: new Map(paths.map((path, i) => [path, grads[i]!])),
    state: aux.state,
    carried: of.carried ? [aux.carried] : [],
  }
}
