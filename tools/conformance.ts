/**
 * npm run conformance [-- --filter REGEX] [--data FOLDER] [--host] [--json FILE] [--verbose] [--golden FILE] [--docs FILE]: ONNX's own node tests on Tersor's executor. Prints passed, failed and
 * unsupported with reasons; exit code 1 when one failed. --golden writes the smallest tests of each operator that pass, for the suite; --docs the
 * table of operators.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { conformanceData, type Source } from './conformance-data.js'
import { operatorsPage } from './onnx-operators.js'
import { readConformanceTest, runConformanceTest, testFolders, type ConformanceTest, type Outcome } from './conformance-lib.js'

const { values } = parseArgs({
  options: {
    filter: { type: 'string', default: '.' },
    data: { type: 'string', multiple: true },
    host: { type: 'boolean', default: false },
    json: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    golden: { type: 'string' },
    docs: { type: 'string' },
  },
})

const sources: Source[] = values.data ? values.data.map((folder) => ({ name: folder, folder })) : conformanceData()
const filter = new RegExp(values.filter)

interface Row extends Outcome {
  readonly source: string
  readonly test: ConformanceTest
}
const rows: Row[] = sources.flatMap(({ name, folder }) =>
  folder === undefined
    ? []
    : testFolders(folder)
        .filter((f) => filter.test(f))
        .map((f): Row => {
          const test = readConformanceTest(f)
          return { source: name, test, ...runConformanceTest(test, values.host) }
        }),
)

const count = (list: readonly Row[], status: Outcome['status']): number => list.filter((r) => r.status === status).length
console.log(`${'data'.padEnd(22)} tests passed failed explained unsupported`)
for (const { name, absent } of sources) {
  const list = rows.filter((r) => r.source === name)
  const numbers = [list.length, count(list, 'passed'), count(list, 'failed'), count(list, 'explained'), count(list, 'unsupported')]
  console.log(
    absent === undefined
      ? `${name.padEnd(22)} ${numbers.map((n) => String(n).padStart(6)).join(' ')}`
      : `${name.padEnd(22)} absent: ${absent}`,
  )
}

function print(title: string, status: Outcome['status']): void {
  const groups = new Map<string, Row[]>()
  for (const r of rows.filter((x) => x.status === status)) {
    const key = status === 'failed' ? r.name : r.reason!.replace(/"[^"]*"/g, '…')
    groups.set(key, [...(groups.get(key) ?? []), r])
  }
  if (groups.size === 0) return
  console.log(`\n${title}`)
  for (const [key, list] of [...groups].sort((a, b) => b[1].length - a[1].length)) {
    const text = status === 'failed' ? `${list[0]!.name} (opset ${list[0]!.opset}): ${list[0]!.reason}` : key
    console.log(`${String(list.length).padStart(5)}  ${text.slice(0, values.verbose ? 2000 : 200)}`)
    if (values.verbose) console.log(`       ${list.map((r) => r.name).join(' ')}`)
  }
}
print('failed', 'failed')
print('explained', 'explained')
print('unsupported', 'unsupported')

if (values.json !== undefined) {
  const tests = rows.map(({ test: _, ...row }) => row)
  writeFileSync(values.json, `${JSON.stringify({ sources: sources.map(({ name, absent }) => ({ name, absent })), tests }, null, 1)}\n`)
}
if (values.golden !== undefined) writeFileSync(values.golden, golden(rows))

if (values.docs !== undefined) writeFileSync(values.docs, operatorsPage(rows, sources))

/** The smallest tests of single operators: at most three of each and 4 kB each, one test a line. */
function golden(list: readonly Row[]): string {
  const bytes = ({ model, sets }: ConformanceTest): number =>
    model.length + sets.reduce((n, s) => n + [...s.inputs, ...s.outputs].reduce((m, b) => m + b.length, 0), 0)
  const taken = new Map<string, Row[]>()
  const names = new Set<string>()
  for (const r of [...list].sort((a, b) => bytes(a.test) - bytes(b.test))) {
    const key = r.operators.join()
    const others = taken.get(key) ?? []
    if (r.status !== 'passed' || r.operators.length !== 1 || others.length >= 3 || bytes(r.test) > 4096 || names.has(r.name)) continue
    if (runConformanceTest(r.test, !values.host).status !== 'passed') continue
    names.add(r.name)
    taken.set(key, [...others, r])
  }
  const text = (b: Uint8Array): string => Buffer.from(b).toString('base64')
  const lines = [...taken]
    .sort((a, b) => (a[0] < b[0] ? -1 : 1))
    .flatMap(([, tests]) => tests)
    .map(({ test: { name, model, tolerance, sets } }) =>
      JSON.stringify({
        name,
        model: text(model),
        tolerance,
        sets: sets.map((s) => ({ inputs: s.inputs.map(text), outputs: s.outputs.map(text) })),
      }),
    )
  return `${lines.join('\n')}\n`
}
process.exitCode = rows.some((r) => r.status === 'failed') ? 1 : 0
