/**
 * Symmetric operators: what the methods of this folder need to know of a Hessian. Vectors are flat tensors; `parts` says which run of them
 * belongs to which parameter.
 */
import { hvpOperator, type TensorTree } from '../../autograd/index.js'
import { DTypeError, OptionError } from '../../base/errors.js'
import { pacer } from '../../base/pace.js'
import type { Device } from '../../native/device.js'
import { Tensor } from '../../tensor/index.js'
import { axpby } from '../../ops/index.js'
import { partView } from './vectors.js'

/** A run of a flat vector that belongs to one parameter. */
export interface VectorPart {
  /** Path of the parameter: "fc1.weight". */
  readonly name: string
  readonly shape: readonly number[]
  readonly offset: number
  readonly size: number
}

export interface SymmetricOperator {
  /** Length of the vectors, at least 1. */
  readonly size: number
  readonly dtype: 'f32' | 'f64'
  readonly parts: readonly VectorPart[]
  /** Where the vectors lie; the processor unless given. */
  readonly device?: Device
  /**
   * out := A v, both [size] of `dtype` and contiguous. Rejects with ERR_ABORTED when the signal fires and with ERR_NUMERIC when A itself is not
   * finite (on a device that is left to who reads the result: nothing waits for the device here); lets the event loop run between batches.
   */
  apply(v: Tensor, out: Tensor, signal?: AbortSignal): Promise<void>
}

/** What every method takes. The same seed gives the same bits, whatever the number of threads. */
export interface RunOptions {
  /** Integer in [0, 2^53); default 0. */
  readonly seed?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: HessianProgress) => void
}

/** After each product with the operator. Plain JSON. */
export interface HessianProgress {
  readonly stage: 'powerIteration' | 'lanczos' | 'trace' | 'density' | 'diagonal'
  /** Products done, and the most that there will be. */
  readonly done: number
  readonly total: number
  /** The eigenvalue, the trace: what is known so far. Absent for densities and diagonals. */
  readonly estimate?: number
}

/** The runs of a flat vector for named shapes, one after the other. */
export function layOut(entries: Iterable<readonly [name: string, shape: readonly number[]]>): { parts: VectorPart[]; size: number } {
  const parts: VectorPart[] = []
  let offset = 0
  for (const [name, shape] of entries) {
    const size = shape.reduce((n, d) => n * d, 1)
    parts.push({ name, shape, offset, size })
    offset += size
  }
  return { parts, size: offset }
}

/** The one dtype of all parameters; ERR_DTYPE when they differ or are no floats. */
export function commonDType(where: string, list: readonly Tensor[]): 'f32' | 'f64' {
  const dtype = list[0]?.dtype
  if (dtype === undefined) throw new OptionError('ERR_OPTION', `${where}: there is no parameter`)
  if (dtype !== 'f32' && dtype !== 'f64') throw new DTypeError('ERR_DTYPE', `${where}: parameters must be f32 or f64, got ${list[0]!}`)
  const other = list.find((t) => t.dtype !== dtype)
  if (other) throw new DTypeError('ERR_DTYPE', `${where}: parameters must have one dtype, got ${dtype} and ${other}`)
  return dtype
}

/** The Hessian of a scalar function at the present values of `params`. Dispose it: it holds the recording of the function. */
export class FunctionHessian implements SymmetricOperator {
  readonly size: number
  readonly dtype: 'f32' | 'f64'
  readonly parts: readonly VectorPart[]
  readonly device: Device
  readonly #breathe = pacer('hessian')
  readonly #operator: { apply(v: readonly Tensor[]): readonly Tensor[]; dispose(): void }

  /** @internal */
  constructor(fn: () => Tensor, params: TensorTree) {
    const named: [string, Tensor][] = params instanceof Tensor ? [['0', params]] : Object.entries(params as Record<string, Tensor>)
    const list = named.map(([, t]) => t)
    this.dtype = commonDType('hessian.ofFunction', list)
    this.device = list[0]!.device
    const { parts, size } = layOut(named.map(([name, t]) => [name, t.shape]))
    if (size === 0) throw new OptionError('ERR_OPTION', 'hessian.ofFunction: the parameters have no elements')
    this.parts = parts
    this.size = size
    this.#operator = hvpOperator(fn, list)
  }

  async apply(v: Tensor, out: Tensor, signal?: AbortSignal): Promise<void> {
    await this.#breathe(signal)
    const inputs = this.parts.map((p) => partView(v, p))
    const products = this.#operator.apply(inputs)
    this.parts.forEach((p, i) => {
      const to = partView(out, p)
      axpby(to, products[i]!, 1, 0)
      to.dispose()
    })
    for (const t of [...inputs, ...products]) t.dispose()
  }

  dispose(): void {
    this.#operator.dispose()
  }
}
