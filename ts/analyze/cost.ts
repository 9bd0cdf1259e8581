/**
 * What one forward pass costs: operations counted from the ops that really run (a sparse layer counts its entries only), attributed to the layer
 * whose input they read; and the bytes of each layer's weights.
 */
import { watchCalls } from '../autograd/index.js'
import { scope } from '../tensor/index.js'
import type { Model, ModuleInput } from '../nn/index.js'

export interface LayerCost {
  readonly path: string
  /** Multiply-adds of the layer's product. */
  readonly macs: number
  /** Bytes of its weights in a file. */
  readonly bytes: number
}

export interface Cost {
  /** Layers with a product, in the order in which they run. */
  readonly layers: readonly LayerCost[]
  /** Multiply-adds of all layers. */
  readonly macs: number
  /** All operations, those between the layers too; a multiply-add counts as two. */
  readonly flops: number
  /** Bytes of all weights. */
  readonly bytes: number
}

/** Runs the model once on x and counts. The figures are for the whole batch. */
export function cost(model: Model, x: ModuleInput): Cost {
  const macs = new Map<string, number>()
  let flops = 0
  const products = new Set(model.weights().flatMap(({ layer, weight }) => (weight.kind === 'low-rank' ? [layer] : [])))
  let waiting: { path: string; input: unknown; again?: boolean } | undefined
  scope(() =>
    watchCalls(
      ({ primitive, args, results }) => {
        const spent = primitive.flops ? primitive.flops({ args, results }) : results[0]!.size
        flops += spent
        if (!waiting || !args.includes(waiting.input)) return
        macs.set(waiting.path, (macs.get(waiting.path) ?? 0) + spent / 2)
        // A product of two factors multiplies again with what the first one gives.
        waiting = products.has(waiting.path) && !waiting.again ? { path: waiting.path, input: results[0], again: true } : undefined
      },
      () => model.forward(x, { observe: (path, input) => void (waiting = { path, input }) }),
    ),
  )
  const bytes = new Map<string, number>()
  for (const { layer, weight } of model.weights()) bytes.set(layer, (bytes.get(layer) ?? 0) + weight.bytes())
  const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0)
  return {
    layers: [...macs].map(([path, n]) => ({ path, macs: n, bytes: bytes.get(path) ?? 0 })),
    macs: sum(macs.values()),
    flops,
    bytes: sum(bytes.values()),
  }
}
