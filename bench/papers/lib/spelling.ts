/** How many vowels does a word sound with? Letters in, a class out: nothing can be looked up, an encoder has to put letters together ("queue", "area", "baked"). */
import { loadPronunciations, textDataset, type TextDataset } from '../../../ts/data/index.js'
import type { Sentences } from './small-bert.js'

const VOWELS = new Set(['AA', 'AE', 'AH', 'AO', 'AW', 'AY', 'EH', 'ER', 'EY', 'IH', 'IY', 'OW', 'OY', 'UH', 'UW'])
const CLASSES = ['one', 'two', 'three', 'four or more']
/** Letters of a word; with the marks at both ends a text has at most 16 tokens. */
const LETTERS = { least: 3, most: 14 }

/** Words of the CMU pronouncing dictionary, spelled with spaces. A word trains or is held out; inflections of it may be on the other side. */
export async function spelledWords(counts: { readonly train: number; readonly test: number }): Promise<Sentences> {
  const { pairs, words, sounds } = await loadPronunciations()
  const chosen = words.flatMap((word, i) => {
    const vowels = pairs[i]![1].filter((s) => VOWELS.has(sounds[s]!)).length
    return word.length < LETTERS.least || word.length > LETTERS.most || vowels === 0
      ? []
      : [{ word, label: Math.min(vowels, CLASSES.length) - 1 }]
  })
  const set = (from: number, count: number): TextDataset => {
    const part = chosen.slice(from, from + count)
    return textDataset({
      name: 'CMU dictionary, vowels',
      texts: part.map(({ word }) => [...word].join(' ')),
      labels: Int32Array.from(part, ({ label }) => label),
      classes: CLASSES,
    })
  }
  return { test: set(0, counts.test), train: set(counts.test, counts.train) }
}
