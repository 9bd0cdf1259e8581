/**
 * Tensors: native, 64-byte aligned, typed, row-major or strided views. A Tensor object is a handle with cached shape and dtype;
 * its memory is freed by dispose(), `using`, the end of the enclosing scope(), or (the net) after garbage collection.
 */
import { dtypeInfo, dtypes, type DType, type TypedArray } from '../base/dtype.js'
import type { ErrorCode } from '../base/codes.gen.js'
import { DisposedError, ShapeError, tersorError } from '../base/errors.js'
import { sameShape, sizeOf, stridesOf, type Shape } from '../base/shape.js'
import { addon, callNative, encodeArgs, nativeError, opIndex, opPlan, seam, type OpPlan } from '../native/call.js'
import { device, deviceOf, type Device, type DeviceSpec } from '../native/device.js'
import type { OpName } from '../native/ops.gen.js'
import { currentScope } from './scope.js'

// The net: frees the handles of Tensor objects that were collected without dispose. Tests show that ours leave none. What is registered is a
// small object that only the tensor holds; dispose() hands it on to the next tensor, so it is registered once and not for each
// (registering and unregistering cost more than a call).
class Cell {
  constructor(readonly index: number) {}
}
const held: number[] = [] // by index of the cell: the handle to free, or 0
const freeCells: Cell[] = []
const freeIndices: number[] = []
const MAX_FREE_CELLS = 4096
const net = new FinalizationRegistry<number>((index) => {
  const handle = held[index]!
  held[index] = 0
  freeIndices.push(index)
  if (handle !== 0) addon().release(handle)
})

function takeCell(handle: number): Cell {
  let cell = freeCells.pop()
  if (cell === undefined) {
    cell = new Cell(freeIndices.pop() ?? held.length)
    net.register(cell, cell.index)
  }
  held[cell.index] = handle
  return cell
}

function returnCell(cell: Cell): void {
  held[cell.index] = 0
  if (freeCells.length < MAX_FREE_CELLS) freeCells.push(cell)
}

const disposeSymbol: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('nodejs.dispose') as typeof Symbol.dispose)

let onRead: ((t: Tensor) => void) | undefined

/** @internal Runs `body`; `see` is called before the elements of a tensor are copied out to JavaScript. */
export function watchReads<T>(see: (t: Tensor) => void, body: () => T): T {
  const before = onRead
  onRead = see
  try {
    return body()
  } finally {
    onRead = before
  }
}

export class Tensor {
  readonly shape: Shape
  readonly dtype: DType
  #handle: number
  #cell: Cell | undefined
  #strides: Shape | undefined
  #viewed = false

  /** @internal Use tensor(), zeros(), an op or a loader. Takes over the handle. Without strides: packed, row by row. */
  constructor(handle: number, dtype: DType, shape: Shape, strides?: Shape) {
    this.#handle = handle
    this.#cell = takeCell(handle)
    this.dtype = dtype
    this.shape = shape
    this.#strides = strides
    currentScope()?.add(this)
  }

  /** Elements between neighbours along each dimension. */
  get strides(): Shape {
    return (this.#strides ??= stridesOf(this.shape))
  }

  /** @internal The native handle; throws ERR_DISPOSED after dispose. */
  get handle(): number {
    if (this.#handle === 0) throw new DisposedError('ERR_DISPOSED', `tensor: ${this} was disposed`)
    return this.#handle
  }

  get disposed(): boolean {
    return this.#handle === 0
  }
  get rank(): number {
    return this.shape.length
  }
  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }
  /** Bytes of the elements (a view counts what it shows). */
  get bytes(): number {
    return this.size * dtypeInfo[this.dtype].bytes
  }
  get contiguous(): boolean {
    const strides = this.#strides
    if (strides === undefined) return true
    const packed = stridesOf(this.shape)
    return this.shape.every((d, i) => d === 1 || strides[i] === packed[i])
  }

  /** Where its memory lies. */
  get device(): Device {
    return deviceOf(this.handle)
  }

  /** A copy on that device; where it lies there already, a second handle on the same memory. Each is disposed on its own. Gradients go the way back. */
  to(spec: DeviceSpec): Tensor {
    return mover.to(this, device(spec))
  }

  /** @internal `to` without the tape. */
  moved(target: Device): Tensor {
    if (target === this.device) return this.alias()
    const native = addon()
    if (native.toDevice(this.handle, target.id) < 0) throw nativeError(native)
    return new Tensor(native.out[0]!, this.dtype, this.shape)
  }

  /** Frees the memory now. Disposing twice does nothing. */
  dispose(): void {
    const cell = this.#cell
    if (cell === undefined) return
    seam().release(this.#handle)
    this.#handle = 0
    this.#cell = undefined
    returnCell(cell)
  }
  [disposeSymbol](): void {
    this.dispose()
  }

  /** Copies the elements into `out`, which must fit exactly (its class to the dtype, its length to the size). */
  readInto<A extends TypedArray>(out: A): A {
    onRead?.(this)
    const native = addon()
    const source = this.contiguous ? this : callOp('copy', [this])[0]!
    const status = native.read(source.handle, out)
    const error = status < 0 ? nativeError(native) : undefined
    if (source !== this) source.dispose()
    if (error) throw error
    return out
  }

  /** The elements in row-major order, as the typed array of the dtype (f16 and bf16: raw 16-bit patterns). */
  read(): TypedArray {
    return this.readInto(new dtypeInfo[this.dtype].array(this.size))
  }

  /** The one element of a tensor of size 1. */
  item(): number {
    if (this.size !== 1) throw new ShapeError('ERR_SHAPE', `item: the tensor must have one element, got ${this}`)
    return Number(this.read()[0])
  }

  /** Nested lists of numbers (a number for rank 0). */
  toArray(): unknown {
    const flat = this.read()
    const nest = (axis: number, offset: number, span: number): unknown => {
      if (axis === this.rank) return Number(flat[offset])
      const step = span / this.shape[axis]!
      return Array.from({ length: this.shape[axis]! }, (_, i) => nest(axis + 1, offset + i * step, step))
    }
    return nest(0, 0, this.size)
  }

  /** Overwrites the elements with `data` (exact fit). Asynchronous calls that read the tensor make this ERR_BUSY. */
  write(data: TypedArray): void {
    const native = addon()
    if (native.write(this.handle, data) < 0) throw nativeError(native)
  }

  toString(): string {
    return `${this.dtype}[${this.shape.join(',')}]`
  }

  /** @internal A tensor on the same storage. */
  view(shape: Shape, strides: Shape, offset = 0): Tensor {
    const native = addon()
    if (native.view(this.handle, shape, strides, offset) < 0) throw nativeError(native)
    const view = new Tensor(native.out[0]!, this.dtype, shape, strides)
    this.#viewed = view.#viewed = true
    return view
  }

  /** @internal Whether another Tensor shares its memory, or once did: what changes it in place may change more than it. */
  get viewed(): boolean {
    return this.#viewed
  }

  /** A second handle on the same memory: each is disposed on its own. */
  alias(): Tensor {
    return this.view(this.shape, this.strides)
  }

  /** The same elements in another shape, sharing memory. Needs a contiguous tensor. */
  reshapeView(shape: Shape): Tensor {
    if (sizeOf(shape) !== this.size)
      throw new ShapeError('ERR_SHAPE', `reshape: ${this} has ${this.size} elements, [${shape}] needs ${sizeOf(shape)}`)
    if (!this.contiguous) throw new ShapeError('ERR_SHAPE', `reshape: ${this} is a strided view; copy it first`)
    return this.view(shape, stridesOf(shape))
  }

  sameShape(other: Tensor): boolean {
    return sameShape(this.shape, other.shape)
  }
}

/** @internal What `Tensor.to` calls: autograd puts its primitive here, so that tapes note it. */
export const mover = { to: (t: Tensor, target: Device): Tensor => t.moved(target) }

/** Numbers per result: handle, dtype, rank, eight dimensions (native/bindings/env.h). */
const OUT_STRIDE = 11

/** The result that the addon described in `out`. */
function wrapOne(out: ArrayLike<number>, at: number): Tensor {
  const rank = out[at + 2]!
  const shape = new Array<number>(rank)
  for (let i = 0; i < rank; i++) shape[i] = out[at + 3 + i]!
  return new Tensor(out[at]!, dtypes[out[at + 1]!]!, shape)
}

function wrap(out: ArrayLike<number>, count: number): Tensor[] {
  const results = new Array<Tensor>(count)
  for (let r = 0; r < count; r++) results[r] = wrapOne(out, r * OUT_STRIDE)
  return results
}

/** @internal The tensor that the page describes: what WorkerJob.take gives. */
export function tensorFromPage(page: ArrayLike<number>): Tensor {
  return wrapOne(page, 0)
}

/** Runs one native op without the tape. Ops in ts/ops/ are what users call. */
export function callOp(op: OpName, args: readonly unknown[]): Tensor[] {
  return callPlan(opPlan(op), args)
}

/**
 * Runs one native op into tensors that exist: nothing is allocated. `outs` stand for the results in order; each must have exactly the
 * result's dtype and shape, be contiguous and overlap no input (ERR_SHAPE, ERR_OPTION). After an error their content is undefined.
 */
export function callOpInto(op: OpName, args: readonly unknown[], outs: readonly Tensor[]): void {
  callPlanInto(opPlan(op), args, outs)
}

/** @internal callOpInto for a plan that is at hand. */
export function callPlanInto(plan: OpPlan, args: readonly unknown[], out: Tensor | readonly Tensor[]): void {
  callNative(seam(), plan, args, out)
}

/** @internal The first result of the call that just ended. */
export function firstResult(): Tensor {
  return wrapOne(seam().out, 0)
}

/** @internal callOp for a plan that is at hand. */
export function callPlan(plan: OpPlan, args: readonly unknown[]): Tensor[] {
  const native = seam()
  callNative(native, plan, args)
  return wrap(native.out, plan.results)
}

/**
 * callOp off the main thread. Inputs may be disposed meanwhile: the call holds its own reference. Rejects with ERR_ABORTED when the
 * signal fires first.
 */
export async function callOpAsync(op: OpName, args: readonly unknown[], signal?: AbortSignal): Promise<Tensor[]> {
  const native = addon()
  const promise = native.callAsync(opIndex[op], ...encodeArgs(op, args))
  if (!promise) throw nativeError(native)
  const ticket = native.out[0]!
  const cancel = (): void => native.cancel(ticket)
  if (signal?.aborted) cancel()
  else signal?.addEventListener('abort', cancel, { once: true })
  try {
    const out = await promise
    return wrap(out, out.length / OUT_STRIDE)
  } catch (e) {
    const error = e as Error & { code?: ErrorCode }
    throw error.code ? tersorError(error.code, error.message) : error
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}
