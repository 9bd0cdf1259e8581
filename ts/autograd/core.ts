/** The few ops that the tape itself needs: views, addition and summing out of broadcast dimensions. */
import { ShapeError } from '../base/errors.js'
import { broadcastShapes, normalizeAxis, sameShape, sizeOf, type Shape } from '../base/shape.js'
import type { Device } from '../native/device.js'
import { callOp, mover, type Tensor } from '../tensor/index.js'
import { defineOp, definePrimitive } from './primitive.js'

const single =
  <A extends readonly unknown[]>(f: (...args: A) => readonly Tensor[]) =>
  (...args: A): Tensor =>
    f(...args)[0]!

/** The same elements in another shape; one dimension may be -1. A view when x is contiguous, else a copy. */
export const reshape: (x: Tensor, shape: Shape) => Tensor = single(
  definePrimitive<[x: Tensor, shape: Shape], 'x'>({
    name: 'reshape',
    reads: 'nothing',
    inputs: { x: 0 },
    forward: (x, shape) => {
      const dims = resolveShape(x, shape)
      if (x.contiguous) return [x.reshapeView(dims)]
      const copy = callOp('copy', [x])[0]!
      const view = copy.reshapeView(dims)
      copy.dispose()
      return [view]
    },
    grad: ({ args: [x] }, dy) => ({ x: () => reshape(dy, x.shape) }),
    flops: () => 0,
  }),
)

/** The same values on another device, from `source`: Tensor.to. */
const toDevice: (x: Tensor, target: Device, source: Device) => Tensor = single(
  definePrimitive<[x: Tensor, target: Device, source: Device], 'x'>({
    name: 'to',
    reads: 'nothing',
    inputs: { x: 0 },
    forward: (x, target) => [x.moved(target)],
    grad: ({ args: [, target, source] }, dy) => ({ x: () => toDevice(dy, source, target) }),
    flops: () => 0,
  }),
)
mover.to = (x, target) => toDevice(x, target, x.device)

function resolveShape(x: Tensor, shape: Shape): number[] {
  const free = shape.indexOf(-1)
  if (free < 0) return [...shape]
  const known = shape.reduce((n, d, i) => (i === free ? n : n * d), 1)
  if (known === 0 || x.size % known !== 0) throw new ShapeError('ERR_SHAPE', `reshape: ${x} cannot become [${shape}]`)
  return shape.map((d, i) => (i === free ? x.size / known : d))
}

/** Reorders dimensions: y.shape[i] = x.shape[axes[i]]. A view. */
export const permute: (x: Tensor, axes: readonly number[]) => Tensor = single(
  definePrimitive<[x: Tensor, axes: readonly number[]], 'x'>({
    name: 'permute',
    reads: 'nothing',
    inputs: { x: 0 },
    forward: (x, axes) => {
      const order = axes.map((a) => normalizeAxis('permute', a, x.rank))
      if (order.length !== x.rank || new Set(order).size !== x.rank)
        throw new ShapeError('ERR_SHAPE', `permute: axes must name each of the ${x.rank} dimensions once, got [${axes}]`)
      return [
        x.view(
          order.map((a) => x.shape[a]!),
          order.map((a) => x.strides[a]!),
        ),
      ]
    },
    grad: ({ args: [x, axes] }, dy) => ({
      x: () => {
        const inverse = new Array<number>(axes.length)
        axes.forEach((a, i) => (inverse[normalizeAxis('permute', a, x.rank)] = i))
        return permute(dy, inverse)
      },
    }),
    flops: () => 0,
  }),
)

/** Exchanges the last two dimensions. */
export function transpose(x: Tensor): Tensor {
  if (x.rank < 2) throw new ShapeError('ERR_SHAPE', `transpose: rank must be at least 2, got ${x}`)
  const axes = Array.from({ length: x.rank }, (_, i) => i)
  return permute(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2])
}

/** Stretches dimensions of size 1 (and adds leading ones) to `shape`. A view with stride 0. */
export const broadcastTo: (x: Tensor, shape: Shape) => Tensor = single(
  definePrimitive<[x: Tensor, shape: Shape], 'x'>({
    name: 'broadcast_to',
    reads: 'nothing',
    inputs: { x: 0 },
    forward: (x, shape) => {
      if (!sameShape(broadcastShapes('broadcastTo', x.shape, shape), shape))
        throw new ShapeError('ERR_SHAPE', `broadcastTo: ${x} does not stretch to [${shape}]`)
      const lead = shape.length - x.rank
      return [
        x.view(
          shape,
          shape.map((_, i) => (i < lead || x.shape[i - lead] === 1 ? 0 : x.strides[i - lead]!)),
        ),
      ]
    },
    grad: ({ args: [x] }, dy) => ({ x: () => sumTo(dy, x.shape) }),
    flops: () => 0,
  }),
)

/** x[start[0] : start[0] + size[0], ...]: a view. */
export const slice: (x: Tensor, start: readonly number[], size: readonly number[]) => Tensor = single(
  definePrimitive<[x: Tensor, start: readonly number[], size: readonly number[]], 'x'>({
    name: 'slice',
    reads: 'nothing',
    inputs: { x: 0 },
    forward: (x, start, size) => {
      if (
        start.length !== x.rank ||
        size.length !== x.rank ||
        !start.every((s, i) => Number.isInteger(s) && s >= 0 && Number.isInteger(size[i]) && size[i]! >= 0 && s + size[i]! <= x.shape[i]!)
      )
        throw new ShapeError('ERR_SHAPE', `slice: start [${start}] with size [${size}] leaves ${x}`)
      return [x.view(size, x.strides, sizeOf(size) === 0 ? 0 : start.reduce((o, s, i) => o + s * x.strides[i]!, 0))]
    },
    grad: ({ args: [x, start] }, dy) => ({ x: () => padSlice(dy, x.shape, start) }),
    flops: () => 0,
  }),
)

/** Zeros of `shape` with x placed at `start`: the adjoint of slice. */
export const padSlice = defineOp('pad_slice', {
  reads: 'nothing',
  grad: ({ args: [x, , start] }, dy) => ({ x: () => slice(dy, start, x.shape) }),
  samples: (s) => [
    [s.normal(2, 3), [4, 5], [1, 2]],
    [s.normal(3), [3], [0]],
  ],
  flops: () => 0,
})

/** Element-wise sum with broadcasting. */
export const add = defineOp('add', {
  reads: 'nothing',
  grad: (_, dy) => ({ a: () => dy, b: () => dy }),
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3)],
    [s.normal(2, 3), s.normal(3)],
    [s.normal(2, 1, 3), s.normal(4, 1)],
    [s.normal(), s.normal(2)],
  ],
})

/** Sum over `axes` ([] = all). */
export const sum = defineOp('sum', {
  reads: 'nothing',
  grad: ({ args: [x, axes, keepDims] }, dy) => ({
    x: () => {
      const summed = axes.length === 0 ? x.shape.map((_, i) => i) : axes.map((a) => normalizeAxis('sum', a, x.rank))
      return broadcastTo(
        keepDims
          ? dy
          : reshape(
              dy,
              x.shape.map((d, i) => (summed.includes(i) ? 1 : d)),
            ),
        x.shape,
      )
    },
  }),
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [
    [s.normal(2, 3), [], false],
    [s.normal(2, 3, 4), [1], true],
    [s.normal(2, 3, 4), [0, -1], false],
  ],
})

/** Sums x over the dimensions in which `shape` was stretched to x.shape: the adjoint of broadcastTo. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x
  const lead = x.rank - shape.length
  const axes = x.shape.map((d, i) => (i < lead || (shape[i - lead] === 1 && d !== 1) ? i : -1)).filter((i) => i >= 0)
  return reshape(sum(x, axes, true), shape)
}
