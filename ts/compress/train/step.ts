/**
 * One step of a training on a working copy: gradients, SAM, clipping, optimizer, running statistics, average. All or nothing: what is not finite
 * is ERR_NUMERIC before a weight moves; in f16 a gradient that overflows leaves the step out (weights, optimizer and statistics keep their bits).
 */
import { interruptible } from '../../native/worker-job.js'
import { assign, countNonfinite, maskApply } from '../../ops/index.js'
import {
  ascend,
  averageStep,
  clipByNorm,
  clipByValue,
  LossScale,
  Optimizer,
  parameterGroups,
  scaled,
  type Group,
} from '../../optim/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { gradients, type Gradients, type LossOf } from './gradients.js'
import { checkFinite, type WorkingCopy } from './working-copy.js'

type Grads = ReadonlyMap<string, Tensor>

export class TrainStep {
  readonly optimizer: Optimizer
  /** Only in f16. */
  readonly lossScale: LossScale | undefined
  readonly #vectors: ReadonlySet<string>
  /** Steps left out. */
  skipped = 0

  /** `lossIsBad` throws; `average`: the copy that holds the averaged weights. */
  constructor(
    private readonly of: LossOf,
    private readonly average: WorkingCopy | undefined,
    private readonly lossIsBad: (loss: number, batch: unknown, step: number) => never,
  ) {
    const { copy, settings } = of
    const roles = new Map(copy.model.weights().map(({ path, role }) => [path, role]))
    // A weight with several leaves has them at path#1, path#2.
    const byLeaf = new Map([...copy.leaves.keys()].map((path) => [path, roles.get(path.split('#')[0]!)!]))
    const scales = new Set([...copy.leaves].filter(([, leaf]) => leaf.part !== undefined).map(([path]) => path))
    this.#vectors = new Set([...byLeaf].filter(([path, role]) => role === 'vector' || scales.has(path)).map(([path]) => path))
    const groupOf = settings.groups && parameterGroups(settings.groups, byLeaf)
    const apart = (path: string): Group => (scales.has(path) ? { weightDecay: 0, ...groupOf?.(path) } : (groupOf?.(path) ?? {}))
    this.optimizer = new Optimizer(settings.optimizer, copy.leaves, scales.size > 0 ? apart : groupOf)
    this.lossScale = settings.precision === 'f16' ? new LossScale(settings.lossScale) : undefined
  }

  /** Gives the loss before the step, and how many losses it is the mean of. */
  run(batch: unknown, step: number, lr: number): { readonly loss: number; readonly count: number } {
    return scope(() => {
      const { carried, task, settings } = this.of
      if (task.restarts?.(batch)) carried!.reset()
      const first = this.#gradients(batch, step)
      const grads = this.#usable(first, step)
      const used = grads && settings.sam ? this.#sharpness(grads, batch, step) : grads
      if (used) this.#take(used, first.state, lr, step)
      else {
        this.lossScale!.bad()
        this.skipped++
      }
      carried?.commit(first.carried)
      return { loss: first.loss, count: first.count }
    })
  }

  #gradients(batch: unknown, step: number): Gradients {
    const found = interruptible(() => gradients(this.of, batch, step, this.lossScale?.scale ?? 1))
    if (!Number.isFinite(found.loss)) this.lossIsBad(found.loss, batch, step)
    return found
  }

  /** Without the loss scale and, where a norm is going to be taken, without what the masks take away. undefined: leave the step out. */
  #usable({ grads }: Gradients, step: number): Grads | undefined {
    const { lossScale } = this
    const { copy, settings } = this.of
    if (lossScale) {
      for (const g of grads.values()) if (scope(() => countNonfinite(g).item()) > 0) return undefined
    } else for (const [path, g] of grads) checkFinite('train', 'gradient of', path, g, step)
    const plain = lossScale ? scaled(grads, 1 / lossScale.scale) : grads
    if (!settings.sam && settings.clipNorm === undefined) return plain
    return new Map([...plain].map(([path, g]) => [path, copy.leaves.get(path)!.mask ? maskApply(g, copy.leaves.get(path)!.mask!) : g]))
  }

  /** The gradients where SAM goes; the weights come back whatever happens there. */
  #sharpness(grads: Grads, batch: unknown, step: number): Grads | undefined {
    const restore = ascend(this.of.settings.sam!, this.of.copy.leaves, grads, (path) => this.#vectors.has(path))
    try {
      return this.#usable(this.#gradients(batch, step), step)
    } finally {
      restore()
    }
  }

  #take(grads: Grads, state: ReadonlyMap<string, Tensor>, lr: number, step: number): void {
    const { copy, settings } = this.of
    const { clipNorm, clipValue, ema } = settings
    const short = clipNorm === undefined ? grads : clipByNorm(grads, clipNorm).grads
    const limited = clipValue === undefined ? short : clipByValue(short, clipValue)
    for (const [path, t] of state) checkFinite('train', 'state', path, t, step)
    this.optimizer.step(limited, lr)
    for (const [path, t] of state) assign(copy.state.get(path)!, t)
    this.lossScale?.good()
    if (ema) averageStep(ema, this.average!.leaves, copy.leaves, this.optimizer.updates)
  }

  dispose(): void {
    this.optimizer.dispose()
  }
}
