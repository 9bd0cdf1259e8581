/** docs/guides/onnx-operators.md: the table of operators with what ONNX's own tests say of each. Written by `npm run conformance -- --docs docs/guides/onnx-operators.md`. */
import { onnxOps } from '../ts/graph/define.js'
import type { Source } from './conformance-data.js'
import type { Outcome } from './conformance-lib.js'

type Row = Outcome & { readonly source: string }

/** What a row of the table does not do. */
const limits: Readonly<Record<string, string>> = {
  Conv: 'sequences and images; no three dimensions',
  ConvTranspose: 'sequences and images; no three dimensions',
  QLinearConv: 'sequences and images',
  ConvInteger: 'sequences and images',
  DFT: 'as a product with tables, up to 2^25 products; no inverse of half a spectrum',
  STFT: 'as a product with tables',
  GridSample: 'no gradient for the grid',
  RoiAlign: 'no gradient for the boxes',
  LayerNormalization: 'scale and bias of the normalised shape',
  Dropout: 'acts where training_mode says so; random numbers of Tersor',
  Bernoulli: 'random numbers of Tersor',
  RandomNormal: 'random numbers of Tersor',
  RandomNormalLike: 'random numbers of Tersor',
  RandomUniform: 'random numbers of Tersor',
  RandomUniformLike: 'random numbers of Tersor',
  'com.microsoft.MatMulNBits': '2, 4 and 8 bits; no g_idx',
  'com.microsoft.FusedMatMul': 'no transBatchA, transBatchB',
  'com.microsoft.GroupQueryAttention': 'one length for the whole batch; no local windows, no smooth softmax',
  'com.microsoft.MultiHeadAttention': 'query, key and value as three inputs',
  'com.microsoft.SkipLayerNormalization': 'no mean and deviation as outputs',
  'com.microsoft.SkipSimplifiedLayerNormalization': 'no mean and deviation as outputs',
  'com.microsoft.QLinearAveragePool': 'images with equal pads on both sides',
}

const keyOf = (domain: string | undefined, name: string): string => `${domain ? `${domain}.` : ''}${name}`

/** The lines of the table by operator, without what the tests say. */
export function operatorList(): { readonly key: string; readonly name: string; readonly domain: string; readonly versions: string }[] {
  return onnxOps()
    .filter(({ op }) => op.domain !== 'tersor') // nodes that stand for child modules
    .map(({ name, op }) => ({ key: keyOf(op.domain, name), name, domain: op.domain ?? '', versions: op.since.join(', ') }))
    .sort((a, b) => (a.domain === b.domain ? (a.name < b.name ? -1 : 1) : a.domain < b.domain ? -1 : 1))
}

export function operatorsPage(rows: readonly Row[], sources: readonly Source[]): string {
  const count = (list: readonly Row[], status: Outcome['status']): number => list.filter((r) => r.status === status).length
  const total = sources.map(({ name, absent }) => {
    const list = rows.filter((r) => r.source === name)
    if (absent !== undefined) return `| ${name} | absent | | | | |`
    return `| ${name} | ${list.length} | ${count(list, 'passed')} | ${count(list, 'failed')} | ${count(list, 'explained')} | ${count(list, 'unsupported')} |`
  })
  const group = (status: Outcome['status']): string[] => {
    const groups = new Map<string, number>()
    for (const r of rows.filter((x) => x.status === status)) {
      const reason = r
        .reason!.replace(/^ERR_UNSUPPORTED: (onnx|graph): /, '')
        .replace(/ \(\d+ nodes?: [^)]*\)/g, '')
        .replace(/ "[^"]*"/g, '')
      groups.set(reason, (groups.get(reason) ?? 0) + 1)
    }
    return [...groups].sort((a, b) => b[1] - a[1]).map(([reason, n]) => `- ${n}: ${reason}`)
  }
  const table = (domain: string): string[] =>
    operatorList()
      .filter((o) => o.domain === domain)
      .map(({ key, name, versions }) => {
        const own = rows.filter((r) => r.operators.length === 1 && r.operators[0] === key)
        const used = rows.filter((r) => r.operators.length > 1 && r.operators.includes(key))
        const tests =
          own.length > 0
            ? `${count(own, 'passed')} of ${own.length}`
            : used.length > 0
              ? `in ${count(used, 'passed')} of ${used.length} graphs`
              : ''
        return `| ${name} | ${versions} | ${tests} | ${limits[key] ?? ''} |`
      })
  const head = ['| operator | changed in opset | ONNX tests passed | limits |', '|---|---|---|---|']
  return [
    '# ONNX operators',
    '',
    "Written by `npm run conformance -- --docs docs/guides/onnx-operators.md` from the table of operators (`ts/graph/onnx`) and the results of ONNX's own node tests.",
    'Models of opset 7 and later load; an operator is there from the first version of its line on. How to add one: `add-an-onnx-operator.md`.',
    '',
    "## ONNX's own tests",
    '',
    '| data | tests | passed | failed | explained | not supported |',
    '|---|---|---|---|---|---|',
    ...total,
    '',
    'Explained: the data are not reproduced, for a reason.',
    '',
    ...group('explained'),
    '',
    'Not supported:',
    '',
    ...group('unsupported'),
    '',
    '## Types',
    '',
    'Floats are native tensors; f16 and bf16 are computed in f32. Integers that steer shapes are numbers in JavaScript, exact up to 2^53 (beyond that ERR_NUMERIC); native integers are computed in f64, exact to the same',
    'limit. u32 and u64 have no native type and become i64; 2- and 4-bit integers become bytes; 8-bit and smaller floats, and strings, live in JavaScript only. Bit operations, Unique, NonMaxSuppression,',
    'the positions of Scatter and GatherND, and other operators whose result depends on values and not only on shapes read their inputs: sessions run such graphs eagerly and say so.',
    '',
    '## ai.onnx',
    '',
    ...head,
    ...table(''),
    '',
    '## com.microsoft',
    '',
    'Held against onnxruntime in `test/graph/microsoft.test.ts`.',
    '',
    ...head,
    ...table('com.microsoft'),
    '',
  ].join('\n')
}
