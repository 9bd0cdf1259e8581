/**
 * The CMU Pronouncing Dictionary as pairs of numbers: how words are spelled and how they sound. From the npm package `cmu-pronouncing-dictionary`, whose
 * file is read as text and never run.
 */
import fs from 'node:fs'
import path from 'node:path'
import { DataError, ioError } from '../base/errors.js'
import { Rng, shuffleInPlace } from '../base/rng.js'
import { fetchPackage, type FetchOptions } from './cache.js'
import { knownPackages } from './known-packages.js'

export interface Pronunciations {
  /** [letters, sounds] of each word, shuffled by a fixed seed: 0 pads, 1 begins, 2 ends a sequence. */
  readonly pairs: readonly (readonly [readonly number[], readonly number[]])[]
  readonly words: readonly string[]
  /** What a number of a spelling stands for; the first three are marks. */
  readonly letters: readonly string[]
  /** What a number of a pronunciation stands for: 39 phonemes without stress behind three marks. */
  readonly sounds: readonly string[]
}

export const PRONUNCIATION_MARKS = { pad: 0, begin: 1, end: 2 } as const
const MARKS = ['<pad>', '<begin>', '<end>']
const LETTERS = [...MARKS, ...'abcdefghijklmnopqrstuvwxyz']

/**
 * Reads the text of the package's file. Words of the letters a to z only; further pronunciations of a word are left out.
 *
 * - no entry in the text: ERR_DATA
 *
 * @example
 * parsePronunciations('"cat": "K AE1 T",').sounds.slice(3)   // ['AE', 'K', 'T']
 */
export function parsePronunciations(text: string): Pronunciations {
  const entries: [word: string, sounds: string[]][] = []
  for (const [, word, said] of text.matchAll(/^\s*"?([a-z]+)"?: "([^"]+)"/gm))
    entries.push([word!, said!.split(' #')[0]!.replace(/[0-9]/g, '').trim().split(/ +/)])
  if (entries.length === 0) throw new DataError('ERR_DATA', 'parsePronunciations: the text has no entry like "word": "W ER1 D"')
  shuffleInPlace(entries, Rng.of(0, 'pronunciations'))
  const sounds = [...MARKS, ...[...new Set(entries.flatMap(([, s]) => s))].sort()]
  const numbers = new Map(sounds.map((s, i) => [s, i]))
  return {
    pairs: entries.map(([word, s]) => [[...word].map((c) => c.charCodeAt(0) - 97 + MARKS.length), s.map((x) => numbers.get(x)!)]),
    words: entries.map(([word]) => word),
    letters: LETTERS,
    sounds,
  }
}

/**
 * About 117,000 words. Downloads the package once into the cache folder.
 *
 * - the package cannot be fetched: ERR_DATA
 *
 * @example
 * const { pairs, sounds } = await loadPronunciations()
 */
export async function loadPronunciations(options: FetchOptions = {}): Promise<Pronunciations> {
  const folder = await fetchPackage(knownPackages.cmuDict, options)
  const file = path.join(folder, 'index.js')
  let text: string
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch (error) {
    throw ioError(`read '${file}'`, file, error)
  }
  return parsePronunciations(text)
}
