/**
 * The seam: loads the addon on first use, checks that it was built from the same op table, and turns native failures into
 * typed errors that carry the JavaScript stack.
 */
import type { ErrorCode } from '../base/codes.gen.js'
import { dtypeInfo, dtypes, type DType } from '../base/dtypes.gen.js'
import { NativeError, OptionError, tersorError, type TersorError } from '../base/errors.js'
import type { NativeAddon } from './addon.js'
import { loadAddon } from './load.cjs'
import { enumValues, opRows, schemaHash, type OpName, type OpParam } from './ops.gen.js'

let loaded: NativeAddon | undefined

/** What every call uses, in an object with fast properties: those of the addon's exports are looked up in a dictionary. */
export type Seam = Pick<NativeAddon, 'out' | 'call' | 'ops' | 'release'>
let fast: Seam | undefined

/** @internal */
export function seam(): Seam {
  if (fast) return fast
  const { out, call, ops, release } = addon()
  return (fast = { out, call, ops, release })
}

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

/** What the seam needs to know of an op, looked up once. */
export interface OpPlan {
  readonly name: OpName
  readonly index: number
  readonly results: number
  readonly params: readonly OpParam[]
  /** Kinds of the parameters (character codes of ops.def, 0 behind the last) and the values that a name may stand for. */
  readonly kinds: readonly number[]
  readonly names: readonly (readonly string[])[]
}

const plans = new Map<OpName, OpPlan>()

export function opPlan(name: OpName): OpPlan {
  let plan = plans.get(name)
  if (!plan) {
    const { params, results } = opRows[opIndex[name]]!
    const names = params.map(([kind, , enumName]) => (kind === 'D' ? dtypes : enumName ? enumValues[enumName]! : []))
    const kinds = Array.from({ length: Math.max(8, params.length) }, (_, i) => params[i]?.[0].charCodeAt(0) ?? 0)
    plans.set(name, (plan = { name, index: opIndex[name], results, params, kinds, names }))
  }
  return plan
}

const [T, M, O, I, F, B, L] = [84, 77, 79, 73, 70, 66, 76]
/** Places in the page (native/bindings/env.h); EPOCH counts the calls that began to write arguments. */
const EPOCH = 71
const ARGUMENTS = 72
const LIST = 8

/** Writes an argument into the page at `at` and answers where the next one goes; -1 where the value is not of its type. */
function put(page: Float64Array, plan: OpPlan, i: number, at: number, value: unknown): number {
  const kind = plan.kinds[i]!
  if (at < 0 || kind === 0) return at // an argument more than the op has
  if (kind === T || kind === M || kind === O) {
    if (typeof value === 'object' && value !== null) {
      const { handle } = value as HasHandle
      if (typeof handle !== 'number' || handle === 0) return -1
      page[at] = handle
    } else if (kind === O && (value === null || value === undefined)) page[at] = 0
    else return -1
  } else if (kind === F || kind === I) {
    if (typeof value !== 'number') return -1
    page[at] = value
  } else if (kind === B) {
    if (typeof value !== 'boolean') return -1
    page[at] = value ? 1 : 0
  } else return kind === L ? putList(page, at, value) : putName(page, at, plan.names[i]!, value)
  return at + 1
}

function putList(page: Float64Array, at: number, value: unknown): number {
  if (!Array.isArray(value) || value.length > LIST) return -1
  const list = value as readonly unknown[]
  const n = list.length
  for (let i = 0; i < n; i++) {
    const entry = list[i]
    if (typeof entry !== 'number') return -1
    page[at + 1 + i] = entry
  }
  page[at] = n
  return at + 1 + LIST
}

function putName(page: Float64Array, at: number, names: readonly string[], value: unknown): number {
  page[at] = names.indexOf(value as string)
  return page[at] < 0 ? -1 : at + 1
}

type Into = HasHandle | readonly HasHandle[] | undefined

/** The memory for results, behind the arguments. False where something was wrong: the page says nothing then. */
function putResults(page: Float64Array, plan: OpPlan, at: number, into: Into, epoch: number): boolean {
  if (at < 0) return false
  for (let r = 0; r < plan.results; r++) {
    const out = into === undefined || !Array.isArray(into) ? (into as HasHandle | undefined) : (into as readonly HasHandle[])[r]
    const handle = out === undefined ? 0 : out.handle
    if (typeof handle !== 'number') return false
    page[at + r] = handle
  }
  return page[EPOCH] === epoch // a getter among the arguments may have made a call of its own: then the page is not ours any more
}

function begin(page: Float64Array): number {
  return (page[EPOCH] = page[EPOCH]! + 1)
}

function run(plan: OpPlan, call: Seam['call']): true {
  if (call(plan.index) === undefined) return true
  throw nativeError(addon())
}

/**
 * Runs an op with up to four arguments that stand by themselves: no list of them is made. False, and nothing was run, where an argument is not
 * of its type; callNative says which.
 */
export function callDirect4(plan: OpPlan, into: Into, a: unknown, b: unknown, c: unknown, d: unknown): boolean {
  const { out: page, call } = seam()
  const epoch = begin(page)
  let at = put(page, plan, 0, ARGUMENTS, a)
  const n = plan.params.length
  if (n > 1) at = put(page, plan, 1, at, b)
  if (n > 2) at = put(page, plan, 2, at, c)
  if (n > 3) at = put(page, plan, 3, at, d)
  return putResults(page, plan, at, into, epoch) && run(plan, call)
}

/** The same with up to eight. */
 
export function callDirect8(plan: OpPlan, into: Into, a: unknown, b: unknown, c: unknown, d: unknown, e: unknown, f: unknown, g: unknown, h: unknown): boolean {
  const { out: page, call } = seam()
  const epoch = begin(page)
  let at = put(page, plan, 0, ARGUMENTS, a)
  at = put(page, plan, 1, at, b)
  at = put(page, plan, 2, at, c)
  at = put(page, plan, 3, at, d)
  at = put(page, plan, 4, at, e)
  at = put(page, plan, 5, at, f)
  at = put(page, plan, 6, at, g)
  at = put(page, plan, 7, at, h)
  return putResults(page, plan, at, into, epoch) && run(plan, call)
}

/** Runs an op; its results are described in the page. `into`: memory for all results. */
export function callNative({ out: page, call, ops }: Seam, plan: OpPlan, args: readonly unknown[], into?: Into): void {
  const epoch = begin(page)
  let at = ARGUMENTS
  for (let i = 0; i < plan.params.length; i++) at = put(page, plan, i, at, args[i])
  if (putResults(page, plan, at, into, epoch)) {
    run(plan, call)
    return
  }
  const outs = into === undefined || Array.isArray(into) ? (into as readonly HasHandle[] | undefined) : [into as HasHandle]
  if (ops[plan.index]!(...encodeArgs(plan.name, args, outs)) < 0) throw nativeError(addon())
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value)
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : typeof value
}
