/**
 * Second-order analysis: the Hessian of a model's loss (or of any function) as an operator, and what can be known of it from products with
 * vectors alone. The tool kit of PyHessian (Yao, Gholami, Keutzer, Mahoney 2020, arXiv 1912.07145).
 */
import type { TensorTree } from '../../autograd/index.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import type { LossData } from '../loss-data.js'
import type { Tensor } from '../../tensor/index.js'
import { chosenLeaves, ModelHessian, type ModelHessianOptions } from './model.js'
import { FunctionHessian } from './operator.js'

/**
 * The Hessian of the mean loss of `model` over `data` (labelled examples, or batches with a loss of their own as `taskLosses` gives them) with respect to its trainable parameters, evaluated as in inference (dropout off,
 * running statistics). Dispose it.
 *
 * - no examples: ERR_DATA; nothing to differentiate, no parameter that matches `layers`, a model without class scores and no loss: ERR_OPTION
 *
 * @example
 * const h = hessian.ofModel(model, data, { layers: ['fc1'] })
 * const { pairs } = await hessian.lanczos(h, { top: 3 })
 * h.dispose()
 */
export function ofModel(model: Model, data: Dataset | LossData, options: ModelHessianOptions = {}): ModelHessian {
  return new ModelHessian(model, data, options)
}

/** Paths of the trainable parameters that `layers` matches (default all): what the parts of `ofModel` will be. None: ERR_OPTION. */
export function ofModelParts(model: Model, layers?: readonly string[]): string[] {
  return chosenLeaves('hessian.ofModelParts', model, layers).map(([path]) => path)
}

/**
 * The Hessian of a scalar function at the present values of `params` (one dtype, f32 or f64). Dispose it.
 *
 * @example
 * const w = tensor([1, 2])
 * const h = hessian.ofFunction(() => sum(mul(mul(w, w), w)), [w])   // diag(6, 12)
 * const { pairs } = await hessian.powerIteration(h)                 // pairs[0].value = 12
 */
export function ofFunction(fn: () => Tensor, params: TensorTree): FunctionHessian {
  return new FunctionHessian(fn, params)
}

export { density, type DensityOptions, type DensityResult } from './density.js'
export { lanczos, type LanczosOptions, type LanczosPair, type LanczosResult } from './lanczos.js'
export { ModelHessian, type ModelHessianOptions } from './model.js'
export { FunctionHessian, type HessianProgress, type RunOptions, type SymmetricOperator, type VectorPart } from './operator.js'
export { powerIteration, type EigenPair, type PowerOptions, type PowerPair, type PowerResult } from './power.js'
export { diagonal, trace, type DiagonalResult, type SampleOptions, type TraceResult } from './stochastic.js'
export { tridiagonalEigen, type TridiagonalEigen } from './tridiagonal.js'
