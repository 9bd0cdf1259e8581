/** A report is plain JSON: what was measured, on what machine, by which recipe. Pages, tables and plots are made from it alone. */
import type { Json } from '../base/json-types.js'

export interface MachineFacts {
  readonly cpu: string
  readonly cores: number
  readonly threads: number
  readonly isa: string
  readonly memoryGiB: number
  readonly os: string
  readonly node: string
  readonly tersor: string
}

/** One model of a comparison: what it costs and what it can. */
export interface Variant {
  readonly name: string
  /** Bytes of the whole file. */
  readonly bytes: number
  /** Bytes of the reference file divided by these. */
  readonly ratio: number
  readonly metric: string
  readonly value: number
  /** 95 % interval of the value (Wilson, for proportions). */
  readonly interval: readonly [number, number]
  /** Number of held-out examples. */
  readonly n: number
  /** Share of examples with the reference's label (label loyalty). */
  readonly agreement?: number
  readonly msPerExample: { readonly p50: number; readonly p95: number; readonly batch: number }
  /** Nonzero share of the parameters. */
  readonly density?: number
  readonly file?: string
  readonly note?: string
  /** A yardstick, not a proposal: shown in tables and plots, not in headlines. */
  readonly comparison?: true
}

/** One row of a per-layer table. */
export interface LayerRow {
  readonly path: string
  readonly shape: readonly number[]
  readonly before: { readonly kind: string; readonly bytes: number }
  readonly after: { readonly kind: string; readonly bytes: number; readonly density: number }
  /** ||W' - W|| / ||W||, Frobenius. Says nothing where the shape is another. */
  readonly error: number
  /** Where the shape was another. */
  readonly shapeBefore?: readonly number[]
}

/** A named series over epochs or steps. */
export interface Curve {
  readonly name: string
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

export interface CurvePlot {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly curves: readonly Curve[]
}

/** How much a layer (or group of layers) matters to the loss, and the bits that it got. */
export interface SensitivityRow {
  readonly name: string
  readonly parameters: number
  /** Curvature for each squared change of a weight; may be 0 or negative where it was measured. */
  readonly sensitivity: number
  readonly bits?: number
  readonly bytes?: number
  /** By how much the loss is expected to rise at these bits. */
  readonly cost?: number
}

export interface ReportSection {
  readonly title: string
  /** What was done and on what data: sample counts, seeds, splits. One paragraph each. */
  readonly text: readonly string[]
  readonly variants: readonly Variant[]
  readonly layers?: { readonly title: string; readonly rows: readonly LayerRow[] }
  readonly sensitivity?: { readonly title: string; readonly rows: readonly SensitivityRow[] }
  readonly curves?: readonly CurvePlot[]
  readonly recipes?: Readonly<Record<string, Json>>
}

export interface Report {
  readonly report: 1
  readonly title: string
  readonly created: string
  readonly machine: MachineFacts
  readonly sections: readonly ReportSection[]
}
