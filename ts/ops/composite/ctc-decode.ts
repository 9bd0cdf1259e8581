/**
 * From the frames of a net trained with `ctcLoss` to labels: the best path, and a beam over prefixes (Graves, Jaitly 2014, algorithm 1; Hannun et al.
 * 2014). Plain data out: decoding is for results, not for the tape.
 */
import { OptionError, ShapeError } from '../../base/errors.js'
import type { Tensor } from '../../tensor/index.js'

export interface CtcDecodeOptions {
  /** Frames of each sequence; default all. */
  readonly inputLengths?: ArrayLike<number>
  /** Class that stands for no label. Default 0. */
  readonly blank?: number
}

export interface CtcBeamOptions extends CtcDecodeOptions {
  /** Prefixes kept from frame to frame. Default 16. */
  readonly width?: number
  /** Results per sequence, at most `width`. Default 1. */
  readonly top?: number
  /** Added to the score of a prefix when `label` extends it: a language model's weighted log-probability, a reward for length. */
  readonly extend?: (prefix: readonly number[], label: number) => number
}

export interface CtcResult {
  readonly labels: readonly number[]
  /** Log-probability: of the path (greedy), of all paths in the beam together (beam; with what `extend` gave). */
  readonly score: number
}

interface Frames {
  readonly batch: number
  readonly classes: number
  readonly length: (b: number) => number
  readonly at: (b: number, t: number, c: number) => number
}

function framesOf(where: string, x: Tensor, { inputLengths, blank = 0 }: CtcDecodeOptions): Frames {
  if (x.rank !== 3) throw new ShapeError('ERR_SHAPE', `${where}: logProbs must be [B, T, C], got ${x}`)
  const [batch, frames, classes] = x.shape as [number, number, number]
  if (!(Number.isInteger(blank) && blank >= 0 && blank < classes))
    throw new OptionError('ERR_OPTION', `${where}: blank must be an integer in [0, ${classes}), got ${blank}`)
  if (inputLengths && inputLengths.length !== batch)
    throw new ShapeError('ERR_SHAPE', `${where}: inputLengths must hold ${batch} numbers, got ${inputLengths.length}`)
  for (let b = 0; inputLengths && b < batch; b++) {
    const n = inputLengths[b]!
    if (!(Number.isInteger(n) && n >= 0 && n <= frames))
      throw new ShapeError('ERR_SHAPE', `${where}: inputLengths must be integers in [0, ${frames}], got ${n} for sequence ${b}`)
  }
  const values = x.read() as ArrayLike<number>
  return {
    batch,
    classes,
    length: (b) => inputLengths?.[b] ?? frames,
    at: (b, t, c) => values[(b * frames + t) * classes + c]!,
  }
}

/**
 * The most likely path of each sequence of logProbs [B, T, C], repeats merged and blanks removed.
 *
 * @example
 * ctcGreedy(log(tensor([[[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]])))[0].labels   // [1, 1]
 */
export function ctcGreedy(logProbs: Tensor, options: CtcDecodeOptions = {}): CtcResult[] {
  const f = framesOf('ctcGreedy', logProbs, options)
  const { blank = 0 } = options
  return Array.from({ length: f.batch }, (_, b) => {
    const labels: number[] = []
    let [last, score] = [blank, 0]
    for (let t = 0; t < f.length(b); t++) {
      let best = 0
      for (let c = 1; c < f.classes; c++) if (f.at(b, t, c) > f.at(b, t, best)) best = c
      if (best !== last && best !== blank) labels.push(best)
      last = best
      score += f.at(b, t, best)
    }
    return { labels, score }
  })
}

/** log(e^a + e^b). */
function logAdd(a: number, b: number): number {
  const top = Math.max(a, b)
  return top === -Infinity ? top : top + Math.log1p(Math.exp(Math.min(a, b) - top))
}

/** A prefix: the log-probability of its paths that end in a blank, and of those that end in its last label. */
interface Prefix {
  readonly labels: readonly number[]
  blank: number
  label: number
  /** What `extend` gave for its labels. */
  readonly bonus: number
}
const scoreOf = (p: Prefix): number => logAdd(p.blank, p.label) + p.bonus

/**
 * The likeliest labellings of each sequence of logProbs [B, T, C], best first: paths that spell the same prefix count together.
 *
 * @example
 * // the best path spells nothing (0.36), but three paths spell label 1 (0.64)
 * ctcBeam(log(tensor([[[0.6, 0.4], [0.6, 0.4]]])))[0][0].labels   // [1]
 */
export function ctcBeam(logProbs: Tensor, options: CtcBeamOptions = {}): CtcResult[][] {
  const f = framesOf('ctcBeam', logProbs, options)
  const { blank = 0, width = 16, top = 1, extend } = options
  for (const [name, n] of Object.entries({ width, top }))
    if (!(Number.isInteger(n) && n >= 1)) throw new OptionError('ERR_OPTION', `ctcBeam: ${name} must be an integer >= 1, got ${n}`)
  const search = (b: number): CtcResult[] => {
    let beam: Prefix[] = [{ labels: [], blank: 0, label: -Infinity, bonus: 0 }]
    for (let t = 0; t < f.length(b); t++) {
      const next = new Map<string, Prefix>()
      const place = (labels: readonly number[], bonus: () => number): Prefix => {
        const key = labels.join(' ')
        let p = next.get(key)
        if (!p) next.set(key, (p = { labels, blank: -Infinity, label: -Infinity, bonus: bonus() }))
        return p
      }
      for (const p of beam) {
        const last = p.labels[p.labels.length - 1]
        const total = logAdd(p.blank, p.label)
        const same = place(p.labels, () => p.bonus)
        same.blank = logAdd(same.blank, total + f.at(b, t, blank))
        if (last !== undefined) same.label = logAdd(same.label, p.label + f.at(b, t, last))
        for (let c = 0; c < f.classes; c++) {
          // After the same label only paths that passed a blank begin a new one.
          const from = c === last ? p.blank : total
          const here = from + f.at(b, t, c)
          if (c === blank || here === -Infinity) continue
          const longer = place([...p.labels, c], () => p.bonus + (extend?.(p.labels, c) ?? 0))
          longer.label = logAdd(longer.label, here)
        }
      }
      beam = [...next.values()].sort((p, q) => scoreOf(q) - scoreOf(p)).slice(0, width)
    }
    return beam.slice(0, top).map((p) => ({ labels: p.labels, score: scoreOf(p) }))
  }
  return Array.from({ length: f.batch }, (_, b) => search(b))
}
