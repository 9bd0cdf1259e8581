/** What goes into a session and comes out: typed arrays with a shape, or tensors, one or by name; and the class that inputs belong to. */
import { arrayClass, dtypeInfo, dtypeOfArray, type DType, type TypedArray } from '../base/dtype.js'
import { DTypeError, OptionError, ShapeError } from '../base/errors.js'
import { checkShape, sizeOf, type Shape } from '../base/shape.js'
import type { Device } from '../native/device.js'
import { callOp, tensor, type Tensor } from '../tensor/index.js'

/** An array with its shape. */
export interface SessionValue {
  readonly dtype: DType
  readonly shape: Shape
  readonly data: TypedArray
}
/** A tensor (of this thread), or an array with its shape; the dtype is that of the array's class unless it says otherwise (f16, bf16, bool). */
export type SessionInput = Tensor | { readonly data: TypedArray; readonly shape: Shape; readonly dtype?: DType }
/** One input, or inputs by name, as the model takes them. */
export type SessionInputs = SessionInput | Readonly<Record<string, SessionInput>>

/** @internal Inputs in a fixed order, checked. `single`: there are no names. */
export interface Feed {
  readonly single: boolean
  readonly names: readonly string[]
  readonly values: readonly SessionInput[]
  readonly dtypes: readonly DType[]
  /** Names, dtypes and shapes: runs with equal keys share a plan. */
  readonly key: string
}

const isTensor = (v: object): v is Tensor => 'handle' in v && 'dispose' in v
const isValue = (v: object): boolean => isTensor(v) || ('data' in v && ArrayBuffer.isView(v.data) && 'shape' in v)

/** @internal */
export function feedOf(inputs: SessionInputs): Feed {
  if (typeof inputs !== 'object' || inputs === null)
    throw new OptionError('ERR_OPTION', `session: inputs are a tensor, { data, shape } or a record of those, got ${typeof inputs}`)
  const single = isValue(inputs)
  const names = single ? [''] : Object.keys(inputs)
  const values = single ? [inputs as SessionInput] : names.map((name) => (inputs as Readonly<Record<string, SessionInput>>)[name]!)
  const dtypes = values.map((v, i) => check(names[i]!, v))
  let key = ''
  for (let i = 0; i < values.length; i++)
    key += `${i ? ' ' : ''}${names[i] ? names[i] + ' ' : ''}${dtypes[i]}[${values[i]!.shape.join(',')}]`
  return { single, names, values, dtypes, key }
}

function check(name: string, v: SessionInput): DType {
  const where = name ? `session: input ${name}` : 'session: the input'
  if (typeof v !== 'object' || v === null || !isValue(v))
    throw new OptionError('ERR_OPTION', `${where} must be a tensor or { data, shape }`)
  if (isTensor(v)) return v.dtype
  const kind = arrayClass(v.data)
  const dtype = v.dtype ?? dtypeOfArray.get(kind)
  if (!dtype || dtypeInfo[dtype]?.array.name !== kind)
    throw new DTypeError('ERR_DTYPE', `${where}: ${v.dtype ?? 'no dtype'} does not go with ${kind}`)
  checkShape(where, v.shape)
  if (sizeOf(v.shape) !== v.data.length)
    throw new ShapeError('ERR_SHAPE', `${where}: shape [${v.shape}] needs ${sizeOf(v.shape)} elements, the array has ${v.data.length}`)
  return dtype
}

/** @internal A row-major tensor of its own on that device (which is where tensors are made now) with the input's values. */
export function ownTensor(v: SessionInput, dtype: DType, on: Device): Tensor {
  if (!isTensor(v)) return tensor(v.data, v.shape, dtype)
  return v.device === on ? callOp('copy', [v])[0]! : v.to(on)
}

/** @internal What the addon takes; not those that a plan was made for values of. */
export function nativeInputs(feed: Feed, byValue: readonly number[]): (number | TypedArray)[] {
  const out: (number | TypedArray)[] = []
  for (let i = 0; i < feed.values.length; i++) {
    if (byValue.length > 0 && byValue.includes(i)) continue
    const v = feed.values[i]!
    out.push(isTensor(v) ? v.handle : v.data)
  }
  return out
}

/** @internal " sr=16000": the values of some inputs. */
export function valuesText(feed: Feed, byValue: readonly number[]): string {
  let text = ''
  for (const i of byValue) {
    const v = feed.values[i]!
    text += ` ${feed.names[i] || 'input'}=${(isTensor(v) ? v.read() : v.data).join(',')}`
  }
  return text
}
