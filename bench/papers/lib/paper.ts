/**
 * A reproduction: what a paper claims, measured here on nets that a laptop trains. Rows are figures with one value per seed, beside the paper's own where it
 * gives one; claims are what must hold whatever the scale. A claim that does not hold is reported as that, it is not an error.
 */
import { sampleDeviation } from './spread.js'

export interface Row {
  /** Rows of one table stand together. */
  readonly table: string
  readonly method: string
  /** Where on the curve: density, bits, ratio. */
  readonly at?: { readonly name: string; readonly value: number }
  /** What gave this place, where a method has several: "4 bits, 75 % zeros". */
  readonly how?: string
  /** Only in the drawing, not in the table: points of a long curve. */
  readonly drawn?: true
  readonly metric: string
  /** For people, after the number: '%', 'x', 'ms', 'bytes'. */
  readonly unit?: string
  /** Digits after the point. Default 2. */
  readonly digits?: number
  /** One value per seed; a figure without chance in it has one. */
  readonly values: readonly number[]
  /** How many test examples a value was counted on. */
  readonly n?: number
  /** The paper's figure at this place, for another net on other data unless the table says otherwise. */
  readonly paper?: number
}

export interface Claim {
  /** As the paper says it. */
  readonly text: string
  readonly holds: boolean
  /** The figures that decide. */
  readonly detail: string
  /** The means decide it by a difference that is not above its deviation over the seeds. */
  readonly within?: boolean
}

/** "Holds", "Does not hold"; of a difference that may be chance: "... in the mean only". */
export const verdict = ({ holds, within }: Claim): string => `${holds ? 'Holds' : 'Does not hold'}${within ? ' in the mean only' : ''}`

export interface PaperRun {
  readonly seeds: readonly number[]
  /** Smaller in everything: shows that it works, proves nothing. */
  readonly quick: boolean
  /** Fires at Ctrl-C. */
  readonly signal: AbortSignal
  readonly row: (row: Row) => void
  readonly claim: (claim: Claim) => void
  /** One line of progress, on stderr. */
  readonly say: (text: string) => void
}

export interface Paper {
  /** As on the command line. */
  readonly name: string
  readonly title: string
  /** Authors, year, where the figures stand. */
  readonly source: string
  /** What is the same and what is scaled down: net, data, epochs. */
  readonly setup: string
  /** Default [1, 2, 3]. */
  readonly seeds?: readonly number[]
  readonly run: (run: PaperRun) => Promise<void>
}

/** Checks the shape of a definition where it is written. */
export function definePaper(paper: Paper): Paper {
  return paper
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, v) => sum + v, 0) / values.length
}

/** "98.31 ± 0.12 %", "1.67x". */
export function figureText({ values, digits = 2, unit = '' }: Row): string {
  const spread = values.length > 1 ? ` ± ${sampleDeviation(values).toFixed(digits)}` : ''
  return `${mean(values).toFixed(digits)}${spread}${unit === '' || unit === 'x' ? unit : ` ${unit}`}`
}
