/** Making tensors from JavaScript data. */
import { arrayClass, checkDType, dtypeInfo, dtypeOfArray, type DType, type RawTensor, type TypedArray } from '../base/dtype.js'
import { DTypeError, ShapeError } from '../base/errors.js'
import { checkShape, sizeOf, type Shape } from '../base/shape.js'
import { addon, nativeError } from '../native/call.js'
import { Tensor } from './tensor.js'

export type NestedNumbers = number | readonly NestedNumbers[]

/** Zero-filled tensor. */
export function zeros(shape: Shape, dtype: DType = 'f32'): Tensor {
  checkShape('zeros', shape)
  checkDType('zeros', dtype)
  const native = addon()
  if (native.create(dtypeInfo[dtype].index, shape) < 0) throw nativeError(native)
  return new Tensor(native.out[0]!, dtype, [...shape])
}

export function full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  const t = zeros(shape, dtype)
  t.write(fill(new dtypeInfo[dtype].array(t.size), value))
  return t
}

export function ones(shape: Shape, dtype: DType = 'f32'): Tensor {
  return full(shape, 1, dtype)
}

function fill(a: TypedArray, value: number): TypedArray {
  if (a instanceof BigInt64Array) a.fill(BigInt(value))
  else a.fill(value)
  return a
}

function shapeOf(value: NestedNumbers): number[] {
  const shape: number[] = []
  for (let v = value; typeof v !== 'number'; v = v[0]!) {
    shape.push(v.length)
    if (v.length === 0) break
  }
  return shape
}

function flatten(value: NestedNumbers, shape: Shape, axis: number, out: number[]): void {
  if (typeof value === 'number') {
    if (axis !== shape.length)
      throw new ShapeError('ERR_SHAPE', `tensor: ragged list: a number at depth ${axis}, expected shape [${shape}]`)
    out.push(value)
    return
  }
  if (axis === shape.length || value.length !== shape[axis])
    throw new ShapeError('ERR_SHAPE', `tensor: ragged list: length ${value.length} at depth ${axis}, expected shape [${shape}]`)
  for (const v of value) flatten(v, shape, axis + 1, out)
}

/**
 * A tensor from a number, nested lists or a typed array (copied). Lists become f32 unless a dtype is given; a typed array brings its own.
 *
 * @example
 * tensor([[1, 2], [3, 4]])                       // f32[2,2]
 * tensor(new Int32Array([1, 2, 3, 4]), [2, 2])   // i32[2,2]
 */
export function tensor(data: NestedNumbers | TypedArray, shape?: Shape, dtype?: DType): Tensor {
  if (ArrayBuffer.isView(data)) {
    const kind = arrayClass(data)
    const own = dtypeOfArray.get(kind)
    if (!own) throw new DTypeError('ERR_DTYPE', `tensor: unsupported array class ${kind}`)
    const type = dtype ?? own
    if (dtypeInfo[type].array.name !== kind)
      throw new DTypeError('ERR_DTYPE', `tensor: ${type} needs ${dtypeInfo[type].array.name}, got ${kind}`)
    const dims = shape ?? [data.length]
    checkShape('tensor', dims)
    if (sizeOf(dims) !== data.length)
      throw new ShapeError('ERR_SHAPE', `tensor: shape [${dims}] needs ${sizeOf(dims)} elements, the array has ${data.length}`)
    return created(dims, type, data)
  }
  const inferred = shapeOf(data)
  const flat: number[] = []
  flatten(data, inferred, 0, flat)
  const dims = shape ?? inferred
  if (sizeOf(dims) !== flat.length)
    throw new ShapeError('ERR_SHAPE', `tensor: shape [${dims}] needs ${sizeOf(dims)} elements, the list has ${flat.length}`)
  const t = zeros(dims, dtype ?? 'f32')
  const array = new dtypeInfo[t.dtype].array(flat.length)
  for (let i = 0; i < flat.length; i++) array[i] = array instanceof BigInt64Array ? BigInt(flat[i]!) : flat[i]!
  t.write(array)
  return t
}

/** A tensor from the bytes of a file. `turned`: they are the rows of the transposed matrix. */
export function fromRaw({ shape, dtype, data }: RawTensor, turned = false): Tensor {
  checkShape('fromRaw', shape)
  checkDType('fromRaw', dtype)
  return created(shape, dtype, data, turned)
}

/** The addon reads bytes of any alignment. */
function created(shape: Shape, dtype: DType, data: ArrayBufferView, turned = false): Tensor {
  const native = addon()
  if (native.createFrom(dtypeInfo[dtype].index, shape, data, turned) < 0) throw nativeError(native)
  return new Tensor(native.out[0]!, dtype, [...shape])
}

/** The bytes of a tensor for a file. */
export function toRaw(t: Tensor): RawTensor {
  const array = t.read()
  return { dtype: t.dtype, shape: t.shape, data: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) }
}
