/** What `compress` takes and gives. */
import type { Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import type { OnEvent } from '../events.js'
import type { CompressReport } from '../outcome.js'
import type { Snapshots } from '../train/state.js'
import type { TrainTask } from '../train/task.js'

export interface CompressOptions {
  /** For calibration and retraining. Passes that need none run without. */
  readonly data?: Dataset
  /** Held-out data for stop rules and for the accuracy in events; never trained or calibrated on. */
  readonly validation?: Dataset
  /** Called synchronously; what it throws ends the run with that error. */
  readonly onEvent?: OnEvent
  /** Stops at the next step boundary with ERR_ABORTED; the checkpoint stays. */
  readonly signal?: AbortSignal
  /** Directory of the run's checkpoints, made if missing, locked against a second process (ERR_BUSY). Without it nothing is written. */
  readonly checkpointDir?: string
  /** Go on from the newest good checkpoint in `checkpointDir`; from the start when there is none. Default false: old ones are removed. */
  readonly resume?: boolean
  /** Seconds between checkpoints inside a pass; default 30. One is always written after a pass. */
  readonly checkpointSeconds?: number
  /**
   * What passes train on, where it is not the classification of `data`: `language(...)`, `tokens(...)`, `regression(...)` or a task of your own. Without `data` they
   * calibrate on it too.
   */
  readonly task?: TrainTask
  /**
   * Models to learn from, for passes with `distill` in their options. Not changed. Default: the model given, so that what is compressed keeps to what it was.
   */
  readonly teacher?: Model | readonly Model[]
  /** Folder in which the outputs of teachers are kept; default: in memory. */
  readonly teacherCache?: string
  /** States of the original training: rewinding needs them. */
  readonly snapshots?: Snapshots
}

export interface CompressResult {
  /** The input model is unchanged; this one shares with it what no pass touched. */
  readonly model: Model
  readonly report: CompressReport
}

export function teachersOf({ teacher }: CompressOptions): readonly Model[] | undefined {
  return teacher === undefined ? undefined : Array.isArray(teacher) ? (teacher as readonly Model[]) : [teacher as Model]
}
