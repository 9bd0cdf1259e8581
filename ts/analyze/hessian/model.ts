/**
 * The Hessian of a model's loss over a data set, as an operator: products are exact, the mean over batches weighted by their sizes (PyHessian's
 * `hv_product`). The gradient of a batch is recorded once and kept while memory allows; later products walk the recording only.
 */
import { hvpOperator, type HvpOperator } from '../../autograd/index.js'
import { DataError, DisposedError, NumericError, OptionError } from '../../base/errors.js'
import { globs } from '../../base/glob.js'
import { pacer } from '../../base/pace.js'
import type { Dataset } from '../../data/dataset.js'
import { distinctLeaves, type Leaf, type Model } from '../../nn/index.js'
import type { Device } from '../../native/device.js'
import { memory } from '../../native/devices.js'
import { axpby, crossEntropy, innerProduct, maskApply } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import { isLossData, labelledBatches, type LossBatch, type LossData } from '../loss-data.js'
import { commonDType, layOut, type SymmetricOperator, type VectorPart } from './operator.js'
import { checkCount } from './options.js'
import { partView } from './vectors.js'

export interface ModelHessianOptions {
  /** Patterns of parameter paths ("conv*", "fc1.weight"): the block of the Hessian that belongs to them. Default: all parameters. */
  readonly layers?: readonly string[]
  /** Examples per batch; default 256. The result depends on it only by rounding. Not for data that are batches already. */
  readonly batchSize?: number
  /** Mean loss of a batch. Default: cross-entropy of class scores. */
  readonly loss?: (output: Tensor, labels: Tensor) => Tensor
  /** Bytes of recorded gradients to keep between products; default 512 MiB. Batches beyond are recorded anew for each product. */
  readonly keepBytes?: number
}

/** The trainable parameters whose paths match; ERR_OPTION when there is none. */
export function chosenLeaves(where: string, model: Model, layers?: readonly string[]): (readonly [path: string, leaf: Leaf])[] {
  const { name } = model.info
  const all = [...distinctLeaves(model)]
  if (all.length === 0)
    throw new OptionError('ERR_OPTION', `${where}: ${name} has no trainable parameters (quantized and sparse weights are final)`)
  const wanted = layers ? globs(layers) : () => true
  const chosen = all.filter(([path]) => wanted(path))
  if (chosen.length > 0) return chosen
  throw new OptionError(
    'ERR_OPTION',
    `${where}: no parameter of ${name} matches ${layers!.join(', ') || 'an empty list'}; there are ${all.map(([path]) => path).join(', ')}`,
  )
}

/** Made by `hessian.ofModel`. The weights must not change while it lives. */
export class ModelHessian implements SymmetricOperator {
  readonly size: number
  readonly dtype: 'f32' | 'f64'
  readonly parts: readonly VectorPart[]
  readonly device: Device
  readonly #leaves: readonly Leaf[]
  readonly #batches: readonly LossBatch[]
  readonly #kept = new Map<number, HvpOperator<readonly Tensor[]>>()
  readonly #keepBytes: number
  readonly #breathe = pacer('hessian')
  #keptBytes = 0
  #disposed = false

  /** @internal */
  constructor(
    private readonly model: Model,
    private readonly data: Dataset | LossData,
    options: ModelHessianOptions,
  ) {
    const where = 'hessian.ofModel'
    const { layers, batchSize = 256, keepBytes = 512 * 2 ** 20 } = options
    checkCount(where, 'batchSize', batchSize, 1)
    if (!(keepBytes >= 0)) throw new OptionError('ERR_OPTION', `${where}: keepBytes must be >= 0, got ${keepBytes}`)
    const { name, task, classes } = model.info
    const scored = !options.loss && !isLossData(data)
    if (scored && task !== 'classification')
      throw new OptionError('ERR_OPTION', `${where}: ${name} is made for ${task}; give a loss of its output`)
    if (scored && classes && classes.length !== data.classes.length)
      throw new OptionError('ERR_OPTION', `${where}: ${name} has ${classes.length} classes, ${data.name} has ${data.classes.length}`)
    if (data.size === 0) throw new DataError('ERR_DATA', `${where}: ${data.name} has no examples`)
    const chosen = chosenLeaves(where, model, layers)
    this.#leaves = chosen.map(([, leaf]) => leaf)
    this.dtype = commonDType(
      where,
      this.#leaves.map((leaf) => leaf.value),
    )
    this.device = this.#leaves[0]!.value.device
    const { parts, size } = layOut(chosen.map(([path, leaf]) => [path, leaf.value.shape]))
    this.parts = parts
    this.size = size
    const loss = options.loss ?? ((output: Tensor, labels: Tensor): Tensor => crossEntropy(output, labels))
    this.#batches = (isLossData(data) ? data : labelledBatches(model, data, batchSize, loss)).batches
    this.#keepBytes = keepBytes
  }

  /** out := H v. Where a mask of the model is 0 the parameter is no variable: its rows and columns are 0. */
  async apply(v: Tensor, out: Tensor, signal?: AbortSignal): Promise<void> {
    if (this.#disposed) throw new DisposedError('ERR_DISPOSED', 'hessian: was disposed')
    const inputs = this.parts.map((p, i) => this.#masked(partView(v, p), i))
    const outputs = this.parts.map((p) => partView(out, p))
    try {
      for (let b = 0; b < this.#batches.length; b++) {
        await this.#breathe(signal)
        this.#add(b, inputs, outputs)
      }
      outputs.forEach((to, i) => {
        const mask = this.#leaves[i]!.mask
        if (!mask) return
        const masked = maskApply(to, mask)
        axpby(to, masked, 1, 0)
        masked.dispose()
      })
      if (this.device.id === 0 && !Number.isFinite(innerProduct(out, out)))
        throw new NumericError('ERR_NUMERIC', `hessian: a product of ${this.model.info.name} over ${this.data.name} is not finite`, {
          details: { stage: 'hessian', tensor: 'H v', index: 0 },
        })
    } finally {
      for (const t of [...inputs, ...outputs]) t.dispose()
    }
  }

  #masked(view: Tensor, i: number): Tensor {
    const mask = this.#leaves[i]!.mask
    if (!mask) return view
    const masked = maskApply(view, mask)
    view.dispose()
    return masked
  }

  /** Adds the share of batch b to the product (the first one overwrites it). */
  #add(b: number, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const operator = this.#kept.get(b) ?? this.#record(b)
    try {
      const products = operator.apply(inputs)
      const share = this.#batches[b]!.count / this.data.size
      products.forEach((h, i) => {
        axpby(outputs[i]!, h, share, b === 0 ? 0 : 1)
        h.dispose()
      })
    } finally {
      if (!this.#kept.has(b)) operator.dispose()
    }
  }

  /** Records a batch; keeps the recording when there is room. */
  #record(b: number): HvpOperator<readonly Tensor[]> {
    const batch = this.#batches[b]!
    const before = memory().bytes
    const operator = hvpOperator(
      () => batch.loss(this.model),
      this.#leaves.map((leaf) => leaf.value),
    )
    const loss = operator.value.item()
    if (!Number.isFinite(loss)) {
      operator.dispose()
      throw new NumericError('ERR_NUMERIC', `hessian: the loss of ${this.model.info.name} is ${loss} on batch ${b} of ${this.data.name}`, {
        details: { stage: 'hessian', tensor: 'loss', index: b },
      })
    }
    const bytes = Math.max(0, memory().bytes - before)
    if (this.#keptBytes + bytes <= this.#keepBytes) {
      this.#keptBytes += bytes
      this.#kept.set(b, operator)
    }
    return operator
  }

  /** Frees the recordings; the model and the data stay. */
  dispose(): void {
    this.#disposed = true
    for (const operator of this.#kept.values()) operator.dispose()
    this.#kept.clear()
  }
}
