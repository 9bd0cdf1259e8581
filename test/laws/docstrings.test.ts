/**
 * Examples in docstrings: each parses, and each that stands by itself (it imports what it uses) runs as it is written, on the build, in a folder with the
 * files that examples name. Examples without imports show one call among things that the reader has; what they call is tested elsewhere.
 */
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { mlp, saveModel } from '../../ts/models/index.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { tempDir } from '../formats/lib.js'

const root = path.join(import.meta.dirname, '..', '..')
const dist = path.join(root, 'dist', 'esm')
const entries: Readonly<Record<string, string>> = { tersor: 'index.js' }
const entry = (name: string): string => pathToFileURL(path.join(dist, entries[name] ?? `${name.slice('tersor/'.length)}/index.js`)).href

interface Example {
  readonly file: string
  readonly code: string
}

function examplesOf(file: string): Example[] {
  const source = fs.readFileSync(path.join(root, 'ts', file), 'utf8')
  return [...source.matchAll(/\/\*\*[^]*?\*\//g)].flatMap(([comment]) =>
    comment
      .slice(0, -2)
      .split('@example')
      .slice(1)
      .map((text) => ({ file, code: text.replace(/^[ \t]*\* ?/gm, '').trim() })),
  )
}

const files = (fs.readdirSync(path.join(root, 'ts'), { recursive: true }) as string[]).filter(
  (f) => f.endsWith('.ts') && !/\.(gen|d)\.ts$/.test(f),
)
const examples = files.flatMap(examplesOf)
const alone = examples.filter(({ code }) => /^import /m.test(code))
const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ESNext, verbatimModuleSyntax: true }

const dir = tempDir()
const before = process.cwd()
beforeAll(() => {
  process.chdir(dir)
  const made = mlp({ inputShape: [8], classes: 2 })
  const info = { name: 'mlp', task: 'classification' as const, classes: ['a', 'b'], inputShape: made.inputShape, history: [] }
  saveModel(new Model(build(made.spec, freshValues(Rng.of(1, 'docstrings'))), info), 'encoder.safetensors')
  fs.writeFileSync('README.md', 'A text of some words.\n'.repeat(50))
  fs.writeFileSync(
    'big.csv',
    `x,y,species\n${Array.from({ length: 200 }, (_, i) => `${i},${i / 2},${i % 2 ? 'setosa' : 'other'}`).join('\n')}\n`,
  )
})
afterAll(() => process.chdir(before))

test('there are examples, and all parse', () => {
  expect(examples.length).toBeGreaterThan(150)
  const broken = examples.flatMap(({ file, code }) =>
    (ts.transpileModule(code, { compilerOptions: options, reportDiagnostics: true }).diagnostics ?? []).map(
      ({ messageText }) => `${file}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}: ${code.slice(0, 80)}`,
    ),
  )
  expect(broken).toEqual([])
})

test.each(alone.map((e, i): [string, number, Example] => [e.file, i, e]))('%s runs (%i)', async (_file, i, { code }) => {
  const program = ts.transpileModule(code, { compilerOptions: options }).outputText
  const file = path.join(dir, `example-${i}.mjs`)
  fs.writeFileSync(
    file,
    program.replace(/from '(tersor[^']*)'/g, (_, name: string) => `from '${entry(name)}'`),
  )
  await import(pathToFileURL(file).href)
})
