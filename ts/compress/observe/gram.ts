/**
 * Second moments of what a layer's products see: per group G = sum of x x^T over the columns x that the weight's rows are multiplied with (for a convolution:
 * the patches), and their sum. With it the squared error of a layer's output is known without data: for an error E of the weight's rows it is tr(E G E^T).
 * Memory is K^2 numbers per group, whatever the number of examples.
 */
import type { JsonObject } from '../../base/json-types.js'
import { moduleKind, type Module } from '../../nn/index.js'
import { matmul, sum } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { pieces } from './pieces.js'
import { rangeOf } from './ranges.js'
import type { Observer, Statistic } from './statistic.js'

export interface Gram {
  /** Groups of the layer's channels that see each other only; 1 for linear layers. */
  readonly groups: number
  /** K: columns of the weight as a matrix. */
  readonly width: number
  /** [groups, K, K]: sums of products. */
  readonly products: Float32Array
  /** [groups, K]: sums. */
  readonly sums: Float32Array
  /** How many columns were seen. */
  readonly count: number
}

class GramObserver implements Observer<Gram> {
  #gram: Gram | undefined

  constructor(
    readonly path: string,
    readonly columns: (x: Tensor, module?: Module) => Tensor,
  ) {}

  see(x: Tensor, module?: Module): void {
    rangeOf(this.path, x)
    pieces(x, (part) => scope(() => this.#add(this.columns(part, module))))
  }

  #add(columns: Tensor): void {
    const [groups, width, n] = columns.shape as [number, number, number]
    const products = matmul(columns, columns, false, true).read() as Float32Array
    const sums = sum(columns, [2], false).read() as Float32Array
    const before = this.#gram
    if (!before) {
      this.#gram = { groups, width, products, sums, count: n }
      return
    }
    for (let i = 0; i < products.length; i++) before.products[i]! += products[i]!
    for (let i = 0; i < sums.length; i++) before.sums[i]! += sums[i]!
    this.#gram = { ...before, count: before.count + n }
  }

  value(): Gram {
    return this.#gram ?? { groups: 0, width: 0, products: new Float32Array(0), sums: new Float32Array(0), count: 0 }
  }
}

const bytesOf = (a: Float32Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)

/** The statistic for a layer; undefined where the layer does not say what its products see (recurrent layers, transposed convolutions). */
export function gramOf(module: Module): Statistic<Gram> | undefined {
  const { columns } = moduleKind(module.kind)
  if (!columns) return undefined
  return {
    key: 'gram',
    observe: (path) => new GramObserver(path, (x, as = module) => columns(as.config, x)),
    save: ({ groups, width, count, products, sums }) => ({
      json: { groups, width, count },
      tensors: {
        products: { dtype: 'f32', shape: [groups, width, width], data: bytesOf(products) },
        sums: { dtype: 'f32', shape: [groups, width], data: bytesOf(sums) },
      },
    }),
    restore: (json, { products, sums }) => {
      const { groups, width, count } = json as JsonObject as { groups: number; width: number; count: number }
      return {
        groups,
        width,
        count,
        products: new Float32Array(products!.data.slice().buffer),
        sums: new Float32Array(sums!.data.slice().buffer),
      }
    },
  }
}
