/** `tersor compress` on a language model: the text of its own vocabulary calibrates and retrains it, perplexity says what was lost. */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import type { CompressReport } from '../../ts/compress/index.js'
import { writeNpy } from '../../ts/formats/index.js'
import { json, tempDir, tersor, succeeds } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const text = `text:${at('book.txt')},valid=0.1`
const model = at('lstm.safetensors')

interface Figure {
  readonly metric: string
  readonly value: number
  readonly n: number
}
interface Compressed {
  readonly before: Figure
  readonly after: Figure
  readonly report: CompressReport
}

const writeRecipe = (stages: readonly (readonly object[])[]): string => {
  const file = at(`${stages.flat().length}-${JSON.stringify(stages).length}.json`)
  fs.writeFileSync(file, JSON.stringify({ recipe: 1, stages }))
  return file
}

beforeAll(async () => {
  // Sentences of a small grammar: there is something to learn, and something to lose.
  const words = (i: number): string =>
    `the ${['old', 'white', 'grey'][i % 3]} ${['whale', 'ship', 'crew'][(i * 7) % 3]} ${i % 2 ? 'sails' : 'swims'} on .`
  fs.writeFileSync(at('book.txt'), Array.from({ length: 400 }, (_, i) => words(i)).join('\n'))
  const sizes = ['--hidden', '16', '--layers', '1', '--embedding', '12', '--epochs', '3', '--batch', '8', '--window', '10', '--lr', '0.02']
  await succeeds(['train', 'lstm', '--data', text, '--out', model, ...sizes, '--snapshots', '1,2,3'])
})

it('calibrates and retrains on the text, and measures perplexity on the part that is held out', async () => {
  const retrain = { kind: 'rewindLearningRate', epochs: 1 }
  const recipe = writeRecipe([
    [{ pass: 'prune/magnitude', options: { sparsity: 0.5, scope: 'global', retrain } }],
    [{ pass: 'quantize/gptq', options: { bits: 8, samples: 16 } }],
  ])
  const page = at('report.html')
  const out = at('small.safetensors')
  const found = await json<Compressed>(['compress', model, '--recipe', recipe, '--data', text, '--out', out, '--report', page])
  expect(found.before).toMatchObject({ metric: 'perplexity' })
  expect(found.before.n).toBeGreaterThan(50)
  expect(found.after.n).toBe(found.before.n)
  expect(found.before.value).toBeGreaterThan(1)
  expect(found.after.value).toBeLessThan(1.5 * found.before.value)
  const [prune, gptq] = found.report.passes
  expect(prune!.figures.rounds).toMatchObject([{ density: 0.5 }])
  expect(gptq!.notes.some(({ text: t }) => /output error/.test(t))).toBe(true)
  expect(fs.readFileSync(page, 'utf8')).toMatch(/perplexity [0-9.]+ -&gt; [0-9.]+|perplexity [0-9.]+ -> [0-9.]+/)
  // The same figure as `evaluate` on the same part, but for the number of columns.
  const evaluated = await json<Figure>(['evaluate', out, '--data', text, '--split', 'valid'])
  expect(Math.abs(Math.log(evaluated.value / found.after.value))).toBeLessThan(0.2)
})

it('takes another text for what is held out, and refuses one that is too short', async () => {
  fs.writeFileSync(at('other.txt'), 'the old whale swims on . the grey ship sails on . '.repeat(10))
  fs.writeFileSync(at('short.txt'), 'the')
  const recipe = writeRecipe([[{ pass: 'quantize/rtn', options: { bits: 8 } }]])
  const base = ['compress', model, '--recipe', recipe, '--out', at('rtn.safetensors'), '--validation']
  const found = await json<Compressed>([...base, `text:${at('other.txt')}`])
  expect(Math.abs(found.after.value - found.before.value)).toBeLessThan(0.05 * found.before.value)
  const short = await tersor([...base, `text:${at('short.txt')}`])
  expect(short.code).not.toBe(0)
  expect(short.stderr).toMatch(/too short/)
})

it('tells how sensitive its layers are, gives them bits, and keeps an error budget by the tokens that are right', async () => {
  const out = at('mixed.safetensors')
  const few = ['--data', text, '--examples', '32', '--iterations', '8']
  const found = await json<{ sensitivities: { examples: number; groups: object[] }; assignment: { fileBytes: number } }>(
    ['sensitivity', model, ...few, '--budget', '2x', '--out', out], // prettier-ignore
  )
  expect(found.sensitivities.examples).toBeGreaterThan(500)
  expect(fs.statSync(out).size).toBe(found.assignment.fileBytes)
  const recipe = writeRecipe([[{ pass: 'quantize/auto', options: { maxDrop: 1, samples: 16, probes: 8 } }]])
  const { report } = await json<Compressed>(['compress', model, '--recipe', recipe, '--data', text, '--out', at('auto.safetensors')])
  expect(report.passes[0]!.figures).toMatchObject({ figure: 'accuracy', 'measured on': 'validation data' })
})

it('dual modules: what the twins answer is drawn step by step, and bench is the gate of their speed', async () => {
  const [out, page] = [at('dual.safetensors'), at('dual.html')]
  await succeeds(['compress', model, '--recipe', 'dual-module', '--data', text, '--out', out, '--report', page])
  expect(fs.readFileSync(page, 'utf8')).toMatch(/Answered by twins[^]*<svg[^]*rnn\.weight_hh_l0/)
  writeNpy(at('ids.npy'), { dtype: 'i32', shape: [1, 12], data: new Uint8Array(48) })
  const bench = await tersor(['bench', out, '--input', at('ids.npy'), '--rounds', '3', '--require-speedup', '1000'])
  expect(bench.code).toBe(1)
  expect(bench.stdout).toMatch(/rnn[^]*not 1000x as fast: .*rnn/)
})
