/** What a compression did, as plain JSON: for the report page, the command line and the model's history. */
import type { Json, JsonObject } from '../base/json-types.js'
import type { WeightRole } from '../nn/index.js'

export interface WeightFacts {
  /** Weight kind: "dense", "masked", "quantized", "sparse". */
  readonly kind: string
  /** One line for tables: "f32", "int4 g32". */
  readonly description: string
  readonly bytes: number
  /** Nonzero share. */
  readonly density: number
}

export interface LayerOutcome {
  readonly path: string
  readonly shape: readonly number[]
  readonly role: WeightRole
  readonly before: WeightFacts
  readonly after: WeightFacts
  /** ||W' - W|| / ||W||, Frobenius; 0 when both are zero, and where the shape is another (then there is `shapeBefore`). */
  readonly error: number
  /** Where the shape is another one now. */
  readonly shapeBefore?: readonly number[]
}

/** A point of a training curve. */
export interface EpochRecord {
  /** Which training: "round 3 of 8". */
  readonly label: string
  readonly epoch: number
  readonly step: number
  readonly loss: number
  readonly lr: number
  /** On the validation data: of classifiers. */
  readonly accuracy?: number
  /** All figures of the evaluation on the validation data. */
  readonly metrics?: Readonly<Record<string, number>>
}

export interface PassOutcome {
  readonly stage: number
  readonly index: number
  readonly pass: string
  readonly version: number
  readonly options: JsonObject
  readonly targets: readonly string[]
  readonly seconds: number
  readonly bytesBefore: number
  readonly bytesAfter: number
  /** Only the layers that changed. */
  readonly layers: readonly LayerOutcome[]
  /** What the pass left alone and why, and other remarks. */
  readonly notes: readonly { readonly path?: string; readonly text: string }[]
  readonly epochs: readonly EpochRecord[]
  /** Figures of the pass itself. */
  readonly figures: JsonObject
}

export interface CompressReport {
  readonly name: string
  readonly recipe: Json
  readonly seed: number
  /** sha256 over architecture and values of the model that came in. */
  readonly sourceHash: string
  readonly versions: JsonObject
  /** Weight bytes (indices and scales included, file headers not). */
  readonly bytesBefore: number
  readonly bytesAfter: number
  readonly parameters: number
  /** Where there are fewer. */
  readonly parametersAfter?: number
  readonly nonzeros: number
  readonly seconds: number
  readonly passes: readonly PassOutcome[]
  /** Every weight, source against result. */
  readonly layers: readonly LayerOutcome[]
}
