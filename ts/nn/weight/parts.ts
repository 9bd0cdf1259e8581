/** What weight kinds share: reading the parts of a file strictly, and a weight's shape as a matrix. */
import type { z } from 'zod'
import type { DType, RawTensor } from '../../base/dtype.js'
import { ModelFormatError, OptionError } from '../../base/errors.js'
import { sizeOf, type Shape } from '../../base/shape.js'
import { tapeStack } from '../../autograd/primitive.js'
import { cpu, defaultDevice, hasDevices, onDevice } from '../../native/device.js'
import { callOp, scope, Tensor } from '../../tensor/index.js'

export type Parts = Readonly<Record<string, RawTensor>>

/** [rows, cols] of a weight: the first dimension (outputs, channels, table rows) and all others together. */
export function matrixShape(kind: string, shape: Shape): [rows: number, cols: number] {
  if (shape.length < 2) throw new OptionError('ERR_OPTION', `weight: a ${kind} weight has at least two dimensions, got shape [${shape}]`)
  return [shape[0]!, sizeOf(shape.slice(1))]
}

/** ERR_MODEL_FORMAT unless exactly the named parts are there. */
export function checkPartNames(kind: string, parts: Parts, names: readonly string[]): void {
  const have = Object.keys(parts)
  const list = (some: readonly string[]): string => some.map((name) => JSON.stringify(name)).join(', ')
  if (have.length !== names.length || !names.every((name) => Object.hasOwn(parts, name)))
    throw new ModelFormatError(
      'ERR_MODEL_FORMAT',
      `weight: a ${kind} weight has the parts ${list(names)}, the file has ${list(have) || 'none'}`,
    )
}

/** The parts of each weight that one is made of: their names begin with the member's and a dot. Others are ERR_MODEL_FORMAT. */
export function memberParts<Name extends string>(
  kind: string,
  members: readonly Name[],
  parts: Parts,
): Record<Name, Record<string, RawTensor>> {
  const stray = Object.keys(parts).find((name) => !members.some((member) => name.startsWith(`${member}.`)))
  if (stray !== undefined)
    throw new ModelFormatError(
      'ERR_MODEL_FORMAT',
      `weight: the parts of a ${kind} weight begin with ${members.map((m) => `"${m}."`).join(' and ')}, the file has "${stray}"`,
    )
  const of = (member: string): [string, RawTensor][] =>
    Object.entries(parts).flatMap(([name, raw]) => (name.startsWith(`${member}.`) ? [[name.slice(member.length + 1), raw]] : []))
  return Object.fromEntries(members.map((member) => [member, Object.fromEntries(of(member))])) as Record<Name, Record<string, RawTensor>>
}

/** The part `name`, or ERR_MODEL_FORMAT when its dtype is another. */
export function partOf(kind: string, parts: Parts, name: string, dtypes: readonly DType[]): RawTensor {
  const found = parts[name]
  if (!found || !dtypes.includes(found.dtype))
    throw new ModelFormatError(
      'ERR_MODEL_FORMAT',
      `weight: part "${name}" of a ${kind} weight must be ${dtypes.join(' or ')}, got ${found?.dtype ?? 'nothing'}`,
    )
  return found
}

/** The configuration of a weight as the kind's schema says, or ERR_MODEL_FORMAT. */
export function parseWeightConfig<T>(kind: string, schema: z.ZodType<T>, config: unknown): T {
  const parsed = schema.safeParse(config)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]!
  throw new ModelFormatError(
    'ERR_MODEL_FORMAT',
    `weight: configuration of a ${kind} weight: ${issue.path.join('.') || 'value'}: ${issue.message}`,
  )
}

/** Runs a native op that gives one tensor, outside of any tape: storage, not arithmetic. */
export function one(op: Parameters<typeof callOp>[0], args: readonly unknown[]): Tensor {
  return callOp(op, args)[0]!
}

/** The same for entropy coding and the blocks of files, which only the processor does: tensors go there, and the result to where tensors are made. */
export function onProcessor(op: Parameters<typeof callOp>[0], args: readonly unknown[]): Tensor {
  if (!hasDevices()) return one(op, args)
  return scope(() => {
    const moved = args.map((a) => (a instanceof Tensor ? a.to(cpu) : a))
    return onDevice(cpu, () => one(op, moved)).to(defaultDevice())
  })
}

/** Runs fn on a temporary and frees it at once, unless a tape may have saved it (then the scope of the tape frees it). */
export function withTemporary<T>(made: readonly Tensor[], fn: () => T): T {
  try {
    return fn()
  } finally {
    if (tapeStack.depth === 0) for (const t of made) t.dispose()
  }
}

/** "16.8 %" */
export function percent(part: number, whole: number): string {
  return `${whole === 0 ? '0.0' : ((100 * part) / whole).toFixed(1)} %`
}
