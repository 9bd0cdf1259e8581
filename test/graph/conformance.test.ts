/**
 * ONNX's own tests of single operators, a few of the smallest of each (written by `npm run conformance -- --golden test/graph/golden/conformance.jsonl`; data of ONNX,
 * Apache-2.0): with inputs as native tensors, and as values in JavaScript.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { memory } from '../../ts/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { onnxOps } from '../../ts/graph/define.js'
import { operatorList } from '../../tools/onnx-operators.js'
import { runConformanceTest, type ConformanceTest } from '../../tools/conformance-lib.js'

interface Line {
  readonly name: string
  readonly model: string
  readonly tolerance: ConformanceTest['tolerance']
  readonly sets: readonly { readonly inputs: readonly string[]; readonly outputs: readonly string[] }[]
}
const bytes = (text: string): Uint8Array => Buffer.from(text, 'base64')
const tests = readFileSync(path.join(import.meta.dirname, 'golden/conformance.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line): ConformanceTest => {
    const { name, model, tolerance, sets } = JSON.parse(line) as Line
    return { name, model: bytes(model), tolerance, sets: sets.map((s) => ({ inputs: s.inputs.map(bytes), outputs: s.outputs.map(bytes) })) }
  })

describe.each([
  ['native', false],
  ['host', true],
])('ONNX conformance, %s inputs', (_, onHost) => {
  it.each(tests.map((t) => [t.name, t] as const))('%s', (_name, test) => {
    const before = memory().tensors
    expect(runConformanceTest(test, onHost)).toMatchObject({ status: 'passed' })
    expect(memory().tensors).toBe(before)
  })
})

it('covers most operators of the table', () => {
  const covered = new Set(tests.flatMap((t) => parseOnnx(t.model).graph.nodes.map((n) => n.op)))
  const names = onnxOps().filter(({ op }) => (op.domain ?? '') === '')
  expect(names.filter(({ name }) => covered.has(name)).length).toBeGreaterThan(0.75 * names.length)
})

it('docs/guides/onnx-operators.md lists the table as it is (npm run conformance -- --docs docs/guides/onnx-operators.md)', () => {
  const page = readFileSync(path.join(import.meta.dirname, '../../docs/guides/onnx-operators.md'), 'utf8')
  for (const { name, versions } of operatorList()) expect(page).toContain(`| ${name} | ${versions} |`)
})
