/**
 * Near-duplicate texts. Two texts are near-duplicates when the Jaccard similarity of their sets of word 5-shingles (Broder, "On the
 * resemblance and containment of documents", 1997) is at least 0.5: half of all phrases of five words are common to both. Before,
 * texts are lower-cased, compatibility forms unified (NFKC), and everything but letters and digits becomes a border of words; a text of
 * fewer than five words is one shingle. Exact, not sampled: an inverted index over the shingles of the reference texts gives all
 * intersections at once, in time proportional to the shingles met.
 */
import { OptionError } from '../base/errors.js'
import { hash64 } from '../base/rng.js'

export interface DuplicateOptions {
  /** Least Jaccard similarity; default 0.5. */
  readonly threshold?: number
  /** Words in a shingle; default 5. */
  readonly words?: number
}

export function normalizedWords(text: string): string[] {
  return (
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  )
}

/** The set of shingles of a text, each as a 53-bit hash of the hashes of its words. */
export function shingles(text: string, words = 5): Set<number> {
  const hashes = normalizedWords(text).map((word) => hash64(word))
  const set = new Set<number>()
  for (let i = 0; i === 0 || i + words <= hashes.length; i++) {
    let high = 0
    let low = 0
    for (let k = i; k < Math.min(i + words, hashes.length); k++) {
      high = Math.imul(high ^ hashes[k]![0], 0x9e3779b1)
      low = Math.imul(low ^ hashes[k]![1], 0x85ebca77)
      high ^= high >>> 15
      low ^= low >>> 13
    }
    set.add((high & 0x1fffff) * 2 ** 32 + (low >>> 0))
  }
  return set
}

export function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  const [small, large] = a.size < b.size ? [a, b] : [b, a]
  let common = 0
  for (const s of small) if (large.has(s)) common++
  return common / (a.size + b.size - common)
}

/** For each of `texts` the most similar of `references`: its index (-1 for none in common) and the similarity. */
export function nearest(texts: readonly string[], references: readonly string[], words = 5): { index: number; similarity: number }[] {
  const sizes = new Uint32Array(references.length)
  const index = new Map<number, number[]>()
  references.forEach((reference, r) => {
    const set = shingles(reference, words)
    sizes[r] = set.size
    for (const s of set) {
      const list = index.get(s)
      if (list) list.push(r)
      else index.set(s, [r])
    }
  })
  const common = new Uint32Array(references.length)
  return texts.map((text) => {
    const set = shingles(text, words)
    const met: number[] = []
    for (const s of set) for (const r of index.get(s) ?? []) if (common[r]!++ === 0) met.push(r)
    let best = { index: -1, similarity: 0 }
    for (const r of met) {
      const similarity = common[r]! / (set.size + sizes[r]! - common[r]!)
      if (similarity > best.similarity || (similarity === best.similarity && r < best.index)) best = { index: r, similarity }
      common[r] = 0
    }
    return best
  })
}

/** The indices of `texts` that are near-duplicates of one of `references`, rising. */
export function nearDuplicates(texts: readonly string[], references: readonly string[], options: DuplicateOptions = {}): Uint32Array {
  const { threshold = 0.5, words = 5 } = options
  if (!(threshold > 0 && threshold <= 1))
    throw new OptionError('ERR_OPTION', `nearDuplicates: threshold must be in (0, 1], got ${threshold}`)
  if (!Number.isSafeInteger(words) || words < 1)
    throw new OptionError('ERR_OPTION', `nearDuplicates: words must be an integer >= 1, got ${words}`)
  const found = nearest(texts, references, words)
  return Uint32Array.from(found.flatMap(({ similarity }, i) => (similarity >= threshold ? [i] : [])))
}
