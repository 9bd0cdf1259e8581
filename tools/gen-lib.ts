/** What tools/gen.ts writes: one function per generated file, from the text of the .def tables. */

type Read = (def: string) => string
const HEAD = (def: string): string => `// Generated from native/${def} by tools/gen.ts. Do not edit.\n`

/** Rows `NAME(a, b, "c")` of a .def file; string quotes are removed, comments ignored. */
export function rows(text: string, macro: string): string[][] {
  const out: string[][] = []
  for (const line of text.split('\n')) {
    const at = line.trimStart()
    if (!at.startsWith(`${macro}(`)) continue
    const body = at.slice(macro.length + 1, at.lastIndexOf(')'))
    out.push((body.match(/"[^"]*"|[^,]+/g) ?? []).map((s) => s.trim().replace(/^"|"$/g, '')))
  }
  return out
}

function codes(read: Read): string {
  const list = rows(read('base/status.def'), 'TERSOR_STATUS')
  return (
    HEAD('base/status.def') +
    `export type ErrorCode =\n${list.map((r) => `  | '${r[1]}'`).join('\n')}\n\n` +
    `/** In the order of the native enumeration; index 0 is "ok". */\n` +
    `export const errorCodes: readonly ErrorCode[] = [\n${list.map((r) => `  '${r[1]}',`).join('\n')}\n]\n\n` +
    `export const errorClassByCode: Readonly<Record<ErrorCode, string>> = {\n${list.map((r) => `  ${r[1]}: '${r[2]}', // ${r[3]}`).join('\n')}\n}\n`
  )
}

function dtypes(read: Read): string {
  const list = rows(read('base/dtype.def'), 'TERSOR_DTYPE').map((r) => (r[0] === 'b8' ? ['bool', ...r.slice(1)] : r))
  return (
    HEAD('base/dtype.def') +
    `export type DType = ${list.map((r) => `'${r[0]}'`).join(' | ')}\n\n` +
    `/** In the order of the native enumeration. */\n` +
    `export const dtypes: readonly DType[] = [${list.map((r) => `'${r[0]}'`).join(', ')}]\n\n` +
    `export const dtypeInfo = {\n${list
      .map((r, i) => `  ${r[0]}: { index: ${i}, bytes: ${r[1]}, array: ${r[3]}, safetensors: '${r[4]}', npy: '${r[5] ?? ''}' },`)
      .join('\n')}\n} as const\n`
  )
}

function isas(read: Read): string {
  const list = rows(read('cpu/isa.def'), 'TERSOR_ISA_LEVEL')
  return (
    HEAD('cpu/isa.def') +
    `/** Caps that TERSOR_ISA takes, weakest first. */\n` +
    `export const isaLevels = [${list.map((r) => `'${r[0]}'`).join(', ')}] as const\nexport type IsaLevel = (typeof isaLevels)[number]\n`
  )
}

export interface OpParam {
  kind: string
  name: string
  enumName?: string
}
export interface OpRow {
  name: string
  params: OpParam[]
  schema: string
}

/** `OP(softmax, T(x) I(axis) R(y))` -> name, parameters, and the schema string as C++ prints it. */
export function opRows(text: string): OpRow[] {
  return [...text.matchAll(/^OP\((\w+),\s*(.*)\)\s*(?:\/\/.*)?$/gm)].map(([, name, body]) => {
    const params = [...body!.matchAll(/([A-Z])\(\s*(?:(\w+)\s*,\s*)?(\w+)\s*\)/g)].map(([, kind, enumName, pname]) => ({
      kind: kind!,
      name: pname!,
      ...(enumName ? { enumName } : {}),
    }))
    return {
      name: name!,
      params,
      schema: `${name}(${params.map((p) => `${p.kind}:${p.enumName ? `${p.enumName}:` : ''}${p.name}`).join(',')})`,
    }
  })
}

/** FNV-1a, 64 bit: the same function stands in native/ops/schema.cc. */
export function fnv1a64(text: string): string {
  let h = 1469598103934665603n
  for (const c of new TextEncoder().encode(text)) h = ((h ^ BigInt(c)) * 1099511628211n) & 0xffffffffffffffffn
  return h.toString(16).padStart(16, '0')
}

const tsType: Record<string, (p: OpParam) => string> = {
  T: () => 'T',
  O: () => 'T | null',
  M: () => 'T',
  I: () => 'number',
  F: () => 'number',
  B: () => 'boolean',
  L: () => 'readonly number[]',
  D: () => 'DType',
  E: (p) => pascal(p.enumName!),
}
const pascal = (s: string): string => s.replace(/(^|_)(\w)/g, (_, __, c: string) => c.toUpperCase())
const camel = (s: string): string => s.replace(/_(\w)/g, (_, c: string) => c.toUpperCase())

function ops(read: Read): string {
  const list = opRows(read('ops/ops.def'))
  const enums = rows(read('ops/enums.def'), 'TERSOR_ENUM')
  const table = list.map((op) => {
    const ins = op.params.filter((p) => p.kind !== 'R')
    const outs = op.params.filter((p) => p.kind === 'R')
    const args = ins.map((p) => `${camel(p.name)}: ${tsType[p.kind]!(p)}`).join(', ')
    const result = outs.length === 0 ? 'void' : outs.length === 1 ? 'T' : `[${outs.map((p) => `${camel(p.name)}: T`).join(', ')}]`
    const tensors =
      ins
        .filter((p) => p.kind === 'T' || p.kind === 'O')
        .map((p) => `'${camel(p.name)}'`)
        .join(' | ') || 'never'
    return `  ${op.name}: { args: [${args}]; result: ${result}; tensors: ${tensors} }`
  })
  const rowsText = list.map((op) => {
    const ins = op.params.filter((p) => p.kind !== 'R')
    const list = ins.map((p) => `['${p.kind}', '${camel(p.name)}'${p.enumName ? `, '${p.enumName}'` : ''}]`).join(', ')
    return `  { name: '${op.name}', params: [${list}], results: ${op.params.length - ins.length}, schema: '${op.schema}' },`
  })
  return (
    HEAD('ops/ops.def') +
    `import type { DType } from '../base/dtypes.gen.js'\n\n` +
    enums
      .map(
        (r) =>
          `export type ${pascal(r[0]!)} = ${r
            .slice(1)
            .map((v) => `'${v}'`)
            .join(' | ')}\n`,
      )
      .join('') +
    `\nexport const enumValues: Readonly<Record<string, readonly string[]>> = {\n${enums
      .map(
        (r) =>
          `  ${r[0]}: [${r
            .slice(1)
            .map((v) => `'${v}'`)
            .join(', ')}],`,
      )
      .join('\n')}\n}\n\n` +
    `/** Argument and result types of every native op; T is the tensor type. */\nexport interface OpTable<T> {\n${table.join('\n')}\n}\n\n` +
    `export type OpName = keyof OpTable<unknown>\n` +
    `export type OpParam = readonly [kind: string, name: string, enumName?: string]\n` +
    `export interface OpRow {\n  readonly name: OpName\n  readonly params: readonly OpParam[]\n  readonly results: number\n  readonly schema: string\n}\n\n` +
    `/** In the order of native/ops/ops.def: the index is the op's number at the seam. */\nexport const opRows: readonly OpRow[] = [\n${rowsText.join('\n')}\n]\n\n` +
    `/** The addon reports the same hash; the loader refuses an addon that does not. */\nexport const schemaHash = '${fnv1a64(list.map((o) => `${o.schema}\n`).join(''))}'\n`
  )
}

/** The descriptor of onnx.proto as onnx-buf carries it: that package is ES modules only, the library is CommonJS too. Its types are used as they are. */
function onnxSchema(read: Read): string {
  const source = read('../node_modules/onnx-buf/dist/onnx_pb.js')
  const descriptor = /fileDesc\("([A-Za-z0-9+/=]+)"\)/.exec(source)?.[1]
  if (descriptor === undefined) throw new Error('onnx-buf: no file descriptor in dist/onnx_pb.js')
  return `// Generated from onnx-buf (onnx.proto, Apache-2.0) by tools/gen.ts. Do not edit.
export const onnxDescriptor =
  '${descriptor}'
`
}

export const generators: Readonly<Record<string, (read: Read) => string>> = {
  'formats/onnx/descriptor.gen.ts': onnxSchema,
  'base/codes.gen.ts': codes,
  'base/dtypes.gen.ts': dtypes,
  'native/isas.gen.ts': isas,
  'native/ops.gen.ts': ops,
}
