/** What is measured, as data: shares with intervals, and what a compressed model loses against the one it was made from, on the same examples. */
import { metrics } from '../../../ts/analyze/index.js'

export interface Measured {
  readonly task: string
  readonly model: string
  readonly runtime: 'tersor' | 'onnxruntime'
  /** What `share` is a share of. */
  readonly metric: string
  readonly n: number
  readonly correct: number
  readonly share: number
  /** 95 %, Wilson. */
  readonly interval: readonly [number, number]
  /** Against fp32 in Tersor on the same examples, in points; 95 % (paired, normal approximation). */
  readonly lost?: { readonly points: number; readonly interval: readonly [number, number]; readonly worse: number; readonly better: number }
  /** Character error rate and the like. */
  readonly others?: Readonly<Record<string, number>>
  /** Of the whole file. */
  readonly bytes?: number
  readonly seconds: number
  readonly bar?: { readonly text: string; readonly met: boolean }
}

/** Which examples were right. */
export type Outcomes = readonly boolean[]

const round = (x: number, digits = 5): number => Number(x.toFixed(digits))

export function shareOf(right: Outcomes): Pick<Measured, 'n' | 'correct' | 'share' | 'interval'> {
  const n = right.length
  const correct = right.filter(Boolean).length
  const [low, high] = metrics.wilsonInterval(correct / n, n)
  return { n, correct, share: round(correct / n), interval: [round(low), round(high)] }
}

export function lostAgainst(before: Outcomes, after: Outcomes): NonNullable<Measured['lost']> {
  const n = before.length
  const worse = before.filter((ok, i) => ok && !after[i]).length
  const better = before.filter((ok, i) => !ok && after[i]).length
  const half = (1.96 * Math.sqrt(worse + better - (worse - better) ** 2 / n)) / n
  const lost = (worse - better) / n
  return { points: round(100 * lost, 3), interval: [round(100 * (lost - half), 3), round(100 * (lost + half), 3)], worse, better }
}

/** A bar on exact numbers. */
export const bar = (text: string, met: boolean): Pick<Measured, 'bar'> => ({ bar: { text, met } })
