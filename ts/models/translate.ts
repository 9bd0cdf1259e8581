/**
 * Decoding of sequence-to-sequence models: beam search over whole batches (Sutskever, Vinyals, Le 2014, section 3.2) with the length normalisation of
 * Wu et al. 2016, eq. 14; a beam of one is greedy decoding. The encoder runs once, the decoder one token at a time with its states carried on.
 */
import { OptionError, ShapeError } from '../base/errors.js'
import { KeyValueCache, type ForwardContext, type Model } from '../nn/index.js'
import { gather, indexSelect, logSoftmax, reshape } from '../ops/index.js'
import { onDevice } from '../native/device.js'
import { keep, scope, tensor, type Tensor } from '../tensor/index.js'
import { CarriedState } from './language.js'
import { decodeTarget, encodeSource, type Seq2seqConfig } from './seq2seq.js'

export interface TranslateOptions {
  /** Tokens that begin and end a target. */
  readonly begin: number
  readonly end: number
  /** Hypotheses kept for each source. Default 1: greedy. */
  readonly width?: number
  /** alpha of the length normalisation ((5 + tokens) / 6) ^ alpha. Default 0.6 with a beam, 0 without. */
  readonly lengthPenalty?: number
  /** Tokens of a result at most, without `end`. Default 2 S + 10 with S the longest source. */
  readonly maxLength?: number
}

export interface Translation {
  /** Without begin and end. */
  readonly tokens: readonly number[]
  /** Log-probability, divided by the length normalisation. */
  readonly score: number
}

interface Hypothesis {
  readonly tokens: readonly number[]
  readonly score: number
}

/** The hypotheses of one source. */
class Beam {
  alive: Hypothesis[]
  readonly finished: Translation[] = []

  constructor(
    private readonly width: number,
    private readonly normal: (tokens: number) => number,
  ) {
    this.alive = [{ tokens: [], score: 0 }]
  }

  get done(): boolean {
    return this.alive.length === 0
  }

  /** `scores(i, token)`: log-probability of `token` behind hypothesis i. Gives the parent of each hypothesis that goes on. */
  advance(vocabulary: number, end: number, scores: (i: number, token: number) => number): number[] {
    const best: { parent: number; token: number; score: number }[] = []
    const room = 2 * this.width
    this.alive.forEach((h, parent) => {
      for (let token = 0; token < vocabulary; token++) {
        const score = h.score + scores(parent, token)
        if (Number.isNaN(score) || (best.length === room && score <= best[room - 1]!.score)) continue
        let at = best.length
        while (at > 0 && best[at - 1]!.score < score) at--
        best.splice(at, 0, { parent, token, score })
        if (best.length > room) best.pop()
      }
    })
    // Each hypothesis ends in one way only, so of twice the width at least `width` go on. An end that is not among the best `width` was not in the beam.
    const next: Hypothesis[] = []
    const parents: number[] = []
    best.forEach(({ parent, token, score }, rank) => {
      const { tokens } = this.alive[parent]!
      if (token === end) {
        if (rank < this.width) this.finished.push({ tokens, score: score / this.normal(tokens.length + 1) })
      } else if (next.length < this.width) {
        next.push({ tokens: [...tokens, token], score })
        parents.push(parent)
      }
    })
    if (this.finished.length >= this.width) {
      this.alive = []
      return []
    }
    this.alive = next
    return parents
  }

  /** Best first; what never ended stands behind what did. */
  results(): Translation[] {
    const sorted = (list: readonly Translation[]): Translation[] => [...list].sort((a, b) => b.score - a.score)
    const open = this.alive.map((h) => ({ tokens: h.tokens, score: h.score / this.normal(Math.max(1, h.tokens.length)) }))
    return [...sorted(this.finished), ...sorted(open)].slice(0, this.width)
  }
}

/**
 * The likeliest targets of each source, best first: `width` of them at most.
 *
 * - a model of another kind, options out of range, a token outside the vocabulary: ERR_OPTION or ERR_SHAPE
 *
 * @example
 * const [[best]] = translate(model, [[5, 9, 4]], { begin: 1, end: 2, width: 4 })   // best.tokens, best.score
 */
export function translate(model: Model, sources: readonly ArrayLike<number>[], options: TranslateOptions): Translation[][] {
  const { begin, end, width = 1, lengthPenalty = width > 1 ? 0.6 : 0 } = options
  const longest = Math.max(1, ...sources.map((s) => s.length))
  const { maxLength = 2 * longest + 10 } = options
  if (model.root.kind !== 'seq2seq')
    throw new OptionError('ERR_OPTION', `translate: takes a seq2seq model, got ${model.info.name} of kind ${model.root.kind}`)
  for (const [name, n] of Object.entries({ width, maxLength }))
    if (!(Number.isInteger(n) && n >= 1 && n <= 1e6))
      throw new OptionError('ERR_OPTION', `translate: ${name} must be an integer in [1, 1e6], got ${n}`)
  if (!(Number.isFinite(lengthPenalty) && lengthPenalty >= 0))
    throw new OptionError('ERR_OPTION', `translate: lengthPenalty must be >= 0, got ${lengthPenalty}`)
  const c = model.root.config as Seq2seqConfig
  for (const [name, token] of Object.entries({ begin, end }))
    if (!(Number.isInteger(token) && token >= 0 && token < c.targetVocabulary))
      throw new OptionError('ERR_OPTION', `translate: ${name} must be in [0, ${c.targetVocabulary}), got ${token}`)
  const empty = sources.findIndex((s) => s.length === 0)
  if (empty >= 0) throw new ShapeError('ERR_SHAPE', `translate: source ${empty} is empty`)
  if (sources.length === 0) return []
  return onDevice(model.device, () => search(model, sources, { begin, end, width, lengthPenalty, maxLength }))
}

/** On the device of the model. */
function search(
  model: Model,
  sources: readonly ArrayLike<number>[],
  { begin, end, width, lengthPenalty, maxLength }: Required<TranslateOptions>,
): Translation[][] {
  const c = model.root.config as Seq2seqConfig
  const longest = Math.max(1, ...sources.map((s) => s.length))
  const beams = sources.map(() => new Beam(width, (n) => ((5 + n) / 6) ** lengthPenalty))
  const state = new CarriedState()
  const cache = new KeyValueCache()
  const plain: ForwardContext = { path: '', training: false, seed: 0, step: 0 }
  const ctx: ForwardContext = { ...plain, carried: state.map, cache }
  const held: Tensor[] = []
  try {
    // Every source has `width` rows, used or not: then keys and memory keep their places.
    const memory = scope(() => {
      const ids = new Int32Array(sources.length * longest)
      sources.forEach((s, b) => ids.set(s, b * longest))
      const lengths = tensor(Int32Array.from(sources, (s) => s.length))
      const encoded = encodeSource(model.root, c, tensor(ids, [sources.length, longest]), lengths, plain)
      const rows = tensor(Int32Array.from({ length: sources.length * width }, (_, i) => Math.floor(i / width)))
      return { memory: keep(gather(encoded.memory, rows)), mask: keep(gather(encoded.mask!, rows)) }
    })
    held.push(memory.memory, memory.mask)
    for (let t = 0; t < maxLength && beams.some((beam) => !beam.done); t++) {
      const last = beams.flatMap((beam) => Array.from({ length: width }, (_, k) => beam.alive[k]?.tokens.at(-1) ?? begin))
      scope(() => {
        const y = decodeTarget(model.root, c, tensor(Int32Array.from(last), [last.length, 1]), memory, ctx)
        const scores = logSoftmax(reshape(y, [last.length, c.targetVocabulary])).read() as Float32Array
        const parents = Int32Array.from(last, (_, i) => i)
        beams.forEach((beam, b) => {
          if (beam.done) return
          const found = beam.advance(c.targetVocabulary, end, (i, token) => scores[(b * width + i) * c.targetVocabulary + token]!)
          found.forEach((parent, k) => (parents[b * width + k] = b * width + parent))
        })
        if (width > 1) for (const [path, h] of state.map) state.map.set(path, indexSelect(h, tensor(parents), 1))
        state.detach()
      })
    }
    return beams.map((beam) => beam.results())
  } finally {
    state.dispose()
    cache.dispose()
    for (const t of held) t.dispose()
  }
}
