/**
 * Strict look at the bytes of a protobuf message before the library decodes it: every length lies inside its message, varints are at most 10 bytes,
 * no field number 0, no groups, wire types fit known fields (packed lists too), messages nest at most `depth` deep and there are at most `messages`.
 * One pass with a stack of its own: neither time nor stack grows with what a file claims. Unknown fields are stepped over, as protobuf demands.
 */
import type { DescField, DescMessage } from '@bufbuild/protobuf'
import { ScalarType } from '@bufbuild/protobuf'
import { formatError, limitError, type FormatContext } from '../limits.js'

/** What a known field may look like: allowed wire types as bits, and the message in it. */
interface Rule {
  readonly wires: number
  readonly message: Rules | undefined
}
interface Rules {
  readonly name: string
  readonly fields: Map<number, Rule>
}

const fixed64: readonly ScalarType[] = [ScalarType.DOUBLE, ScalarType.FIXED64, ScalarType.SFIXED64]
const fixed32: readonly ScalarType[] = [ScalarType.FLOAT, ScalarType.FIXED32, ScalarType.SFIXED32]

function wireOf(field: DescField): number {
  const scalar =
    field.fieldKind === 'list' && field.listKind === 'scalar' ? field.scalar : field.fieldKind === 'scalar' ? field.scalar : undefined
  if (field.message !== undefined || scalar === ScalarType.STRING || scalar === ScalarType.BYTES) return 1 << 2
  const wire = scalar === undefined ? 0 : fixed64.includes(scalar) ? 1 : fixed32.includes(scalar) ? 5 : 0
  return (1 << wire) | (field.fieldKind === 'list' ? 1 << 2 : 0)
}

const known = new Map<DescMessage, Rules>()
function rulesOf(message: DescMessage): Rules {
  const found = known.get(message)
  if (found) return found
  const rules: Rules = { name: message.name, fields: new Map() }
  known.set(message, rules)
  for (const field of message.fields)
    rules.fields.set(field.number, { wires: wireOf(field), message: field.message === undefined ? undefined : rulesOf(field.message) })
  return rules
}

const MAX_LENGTH = 2 ** 31

export function scanProtobuf(
  ctx: FormatContext,
  bytes: Uint8Array,
  schema: DescMessage,
  limits: { readonly depth: number; readonly messages: number },
): void {
  const ends: number[] = [bytes.length]
  const open: Rules[] = [rulesOf(schema)]
  let at = 0
  let messages = 0
  const fail = (reason: string, message: string, where: number): never => {
    throw formatError(ctx, reason, `protobuf: ${message}`, { byteOffset: where, section: open.map((o) => o.name).join('/') })
  }
  /** Value of a varint below 2^53; larger ones come as Infinity. */
  const varint = (end: number): number => {
    const start = at
    let value = 0
    for (let i = 0, scale = 1; i < 10; i++, scale *= 128) {
      if (at >= end) fail('truncated', 'a number runs past the end', start)
      const byte = bytes[at++]!
      value += (byte & 127) * scale
      if (byte < 128) return value > Number.MAX_SAFE_INTEGER ? Infinity : value
    }
    return fail('varint', 'a number has more than 10 bytes', start)
  }
  while (open.length > 0) {
    const end = ends[ends.length - 1]!
    if (at === end) {
      ends.pop()
      open.pop()
      continue
    }
    const start = at
    const rules = open[open.length - 1]!
    const tag = varint(end)
    const wire = tag % 8
    const number = Math.floor(tag / 8)
    if (number === 0 || number >= 2 ** 29) fail('field', `field number ${number}`, start)
    const rule = rules.fields.get(number)
    if (rule && ((rule.wires >> wire) & 1) === 0) fail('wire-type', `field ${number} of ${rules.name} has wire type ${wire}`, start)
    if (wire === 0) varint(end)
    else if (wire === 1 || wire === 5) {
      const size = wire === 1 ? 8 : 4
      if (at + size > end) fail('truncated', `field ${number} runs past the end of its message`, start)
      at += size
    } else if (wire === 2) {
      const length = varint(end)
      if (length > MAX_LENGTH || at + length > end)
        fail('truncated', `field ${number} of ${length} bytes runs past the end of its message`, start)
      if (rule?.message === undefined) at += length
      else {
        if (open.length >= limits.depth) fail('depth', `messages nest deeper than ${limits.depth}`, start)
        if (++messages > limits.messages) throw limitError(ctx.where, 'messages', messages, limits.messages)
        ends.push(at + length)
        open.push(rule.message)
      }
    } else fail('wire-type', wire === 3 || wire === 4 ? 'groups are not used in ONNX' : `wire type ${wire}`, start)
  }
}
