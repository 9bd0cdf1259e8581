/** Text from recurrent language models: greedy is the top score of each place, draws obey topK, topP and avoid, nothing is left behind. */
import { expect, test } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { generate, generateTokens, languageModel } from '../../ts/models/index.js'
import { memory } from '../../ts/native/devices.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'

const VOCABULARY = 12
const make = (cell: 'lstm' | 'gru'): Model => {
  const spec = languageModel({ vocabulary: VOCABULARY, width: 16, hidden: 16, layers: 2, cell })
  const values = freshValues(Rng.of(4, 'generate'))
  // Wide scores: fresh weights score all tokens nearly alike.
  const wide = {
    ...values,
    weight: (...[at, shape, init]: Parameters<typeof values.weight>) => values.weight(at, shape, (rng) => init(rng).map((v) => 8 * v)),
  }
  return new Model(build(spec, wide), { name: 'lm', task: 'language', history: [] })
}

/** Scores of the token behind each place of a text, read at once. */
const scoresOf = (model: Model, text: readonly number[]): Float32Array[] => {
  const all = scope(() => model.forward(tensor(Int32Array.from(text), [1, text.length])).read() as Float32Array)
  return text.map((_, i) => all.slice(i * VOCABULARY, (i + 1) * VOCABULARY))
}
const prompt = [3, 1, 4]

test.each(['lstm', 'gru'] as const)(
  '%s: greedy takes the top score of each place; one token at a time is the whole text at once',
  (cell) => {
    const model = make(cell)
    const before = memory().tensors
    const text = generate(model, prompt, { tokens: 15 })
    expect(text).toHaveLength(18)
    scoresOf(model, text).forEach((row, i) => {
      if (i >= prompt.length - 1 && i + 1 < text.length) expect(row[text[i + 1]!]).toBeCloseTo(Math.max(...row), 4)
    })
    expect(generate(model, prompt, { tokens: 15, temperature: 1e-6 })).toEqual(text)
    expect(generate(model, prompt, { tokens: 15, topP: 1e-9 })).toEqual(text)
    expect(memory().tensors).toBe(before)
    model.dispose()
  },
)

test('draws are by seed, within topP, and never what is avoided', () => {
  const model = make('lstm')
  const draw = (seed: number, more = {}): number[] => generate(model, prompt, { tokens: 30, seed, temperature: 2, ...more })
  expect(draw(1)).toEqual(draw(1))
  expect(draw(1)).not.toEqual(draw(2))
  const text = draw(5, { topP: 0.6 })
  scoresOf(model, text).forEach((row, i) => {
    if (i < prompt.length - 1 || i + 1 >= text.length) return
    const weights = [...row].map((v) => Math.exp(v / 2))
    const total = weights.reduce((a, b) => a + b, 0)
    // What is more likely than the drawn token has not reached topP by itself.
    const above = weights.reduce((sum, w) => sum + (w > weights[text[i + 1]!]! * (1 + 1e-4) ? w : 0), 0)
    expect(above / total).toBeLessThan(0.6)
  })
  const top = text[prompt.length]!
  expect(draw(5, { avoid: [top] }).slice(prompt.length)).not.toContain(top)
  model.dispose()
})

test('a text that is left early frees its state; options out of range are refused', () => {
  const model = make('lstm')
  const before = memory().tensors
  for (const id of generateTokens(model, prompt, { tokens: 100 })) if (id >= 0) break
  expect(memory().tensors).toBe(before)
  for (const topP of [0, -1, 1.1, NaN]) expect(() => generate(model, prompt, { topP })).toThrow(/topP must be in/)
  expect(() => generate(model, [99])).toThrow(/ERR_SHAPE|index|in \[0/)
  expect(memory().tensors).toBe(before)
  model.dispose()
})
