/** Add, Sub, Mul, Div: NumPy's broadcasting; integers divide towards zero. */
import { add, div, mul, sub } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import { defineOnnxOp, type InferContext, type RunContext, type ValueType } from '../define.js'
import type { Dim } from '../graph.js'
import { broadcastDims, valueType } from '../infer.js'
import { joinsElements } from './channels.js'
import { binary, isFloat } from './values.js'

/** Type of an elementwise result; small integer values are followed by value. */
export function inferBinary(
  ctx: InferContext,
  [a, b]: readonly (ValueType | undefined)[],
  host?: (x: number, y: number) => number,
  dtype = a?.dtype ?? b?.dtype,
): ValueType[] {
  const shape = broadcastDims(ctx, [a?.shape, b?.shape])
  const [x, y] = [a?.value, b?.value]
  const simple =
    host &&
    x &&
    y &&
    (x.length === y.length || x.length === 1 || y.length === 1) &&
    (a?.shape?.length ?? 0) <= 1 &&
    (b?.shape?.length ?? 0) <= 1
  const value = simple
    ? Array.from({ length: Math.max(x.length, y.length) }, (_, i): Dim => {
        const [p, q] = [x[x.length === 1 ? 0 : i]!, y[y.length === 1 ? 0 : i]!]
        return typeof p === 'number' && typeof q === 'number' ? host(p, q) : null
      })
    : undefined
  return [valueType(dtype, shape, value)]
}

function arithmetic(name: string, host: (x: number, y: number) => number, native: (x: Tensor, y: Tensor) => Tensor): void {
  defineOnnxOp(name, {
    since: [7, 13, 14],
    inputs: [2, 2],
    channels: joinsElements,
    infer: (ctx, inputs) => inferBinary(ctx, inputs, inputs[0]?.dtype && isFloat(inputs[0].dtype) ? undefined : host),
    run: (ctx, inputs) => binary(ctx, inputs, host, native),
  })
}

arithmetic('Add', (x, y) => x + y, add)
arithmetic('Sub', (x, y) => x - y, sub)
arithmetic('Mul', (x, y) => x * y, mul)

const towardsZero =
  (ctx: RunContext | InferContext) =>
  (x: number, y: number): number =>
    y === 0 ? ctx.fail('ERR_NUMERIC', `${x} divided by 0`) : Math.trunc(x / y)

defineOnnxOp('Div', {
  since: [7, 13, 14],
  inputs: [2, 2],
  channels: joinsElements,
  infer: (ctx, inputs) => inferBinary(ctx, inputs, inputs[0]?.dtype && isFloat(inputs[0].dtype) ? undefined : towardsZero(ctx)),
  run: (ctx, inputs) => {
    const floating = inputs.some((v) => v !== undefined && 'dtype' in v && isFloat(v.dtype))
    // The cast back to integers goes towards zero by itself.
    return binary(ctx, inputs, floating ? (x, y) => x / y : towardsZero(ctx), div)
  },
})
