/**
 * The seam: loads the addon on first use, checks that it was built from the same op table, and turns native failures into
 * typed errors that carry the JavaScript stack.
 */
import type { ErrorCode } from '../base/codes.gen.js'
import { dtypeInfo, type DType } from '../base/dtypes.gen.js'
import { NativeError, OptionError, tersorError, type TersorError } from '../base/errors.js'
import type { NativeAddon } from './addon.js'
import { loadAddon } from './load.cjs'
import { enumValues, opRows, schemaHash, type OpName } from './ops.gen.js'

let loaded: NativeAddon | undefined

/** The addon. Throws ERR_NATIVE when it is missing or does not match, ERR_ISA when TERSOR_ISA cannot be honoured. */
export function addon(): NativeAddon {
  if (loaded) return loaded
  let found: ReturnType<typeof loadAddon>
  try {
    found = loadAddon()
  } catch (e) {
    throw new NativeError('ERR_NATIVE', (e as Error).message, { cause: e })
  }
  const { native, addonPath } = found
  if (native.schemaHash !== schemaHash)
    throw new NativeError('ERR_NATIVE', `addon: ${addonPath} was built from another op table (hash ${native.schemaHash}, expected ${schemaHash}); rebuild it`)
  const { error } = native.isa()
  if (error) throw tersorError('ERR_ISA', error)
  return (loaded = native)
}

export const opIndex: Readonly<Record<OpName, number>> = Object.fromEntries(opRows.map((row, i) => [row.name, i])) as Record<OpName, number>

/** The failure of the last native call as a typed error. */
export function nativeError(native: NativeAddon): TersorError {
  const { code, message } = native.lastError()
  return tersorError(code as ErrorCode, message)
}

/** A tensor as the seam needs it. */
export interface HasHandle {
  readonly handle: number
}

/**
 * Arguments in the form that the addon reads: handles, numbers, indices of enumerations and dtypes; then the handles of `into`, memory for
 * the results.
 */
export function encodeArgs(op: OpName, args: readonly unknown[], into?: readonly HasHandle[]): unknown[] {
  const { params } = opRows[opIndex[op]]!
  const out = new Array<unknown>(params.length + (into ? into.length : 0))
  if (into) for (let i = 0; i < into.length; i++) out[params.length + i] = into[i]!.handle
  for (let i = 0; i < params.length; i++) {
    const [kind, name, enumName] = params[i]!
    const value = args[i]
    switch (kind) {
      case 'T':
      case 'M':
        if (typeof value !== 'object' || value === null || !('handle' in value)) throw new OptionError('ERR_OPTION', `${op}: ${name} must be a tensor, got ${describe(value)}`)
        out[i] = (value as HasHandle).handle
        break
      case 'O':
        if (value !== null && value !== undefined && (typeof value !== 'object' || !('handle' in value)))
          throw new OptionError('ERR_OPTION', `${op}: ${name} must be a tensor or null, got ${describe(value)}`)
        out[i] = value ? (value as HasHandle).handle : null
        break
      case 'D':
        if (typeof value !== 'string' || !Object.hasOwn(dtypeInfo, value)) throw new OptionError('ERR_OPTION', `${op}: ${name} must be a dtype, got ${describe(value)}`)
        out[i] = dtypeInfo[value as DType].index
        break
      case 'E': {
        const index = enumValues[enumName!]!.indexOf(value as string)
        if (index < 0) throw new OptionError('ERR_OPTION', `${op}: ${name} must be one of ${enumValues[enumName!]!.join(', ')}, got ${describe(value)}`)
        out[i] = index
        break
      }
      default:
        out[i] = value
    }
  }
  return out
}

/** Calls an op with encoded arguments. Short lists are passed one by one: a spread costs as much as the rest of the call. */
export function callNative(native: NativeAddon, op: OpName, a: readonly unknown[]): number {
  const f = native.ops[opIndex[op]]!
  switch (a.length) {
    case 1:
      return f(a[0])
    case 2:
      return f(a[0], a[1])
    case 3:
      return f(a[0], a[1], a[2])
    case 4:
      return f(a[0], a[1], a[2], a[3])
    case 5:
      return f(a[0], a[1], a[2], a[3], a[4])
    default:
      return f(...a)
  }
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value)
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : typeof value
}
