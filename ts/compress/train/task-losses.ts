/**
 * Losses to differentiate or to measure where nothing is trained: for scores of pruning, for the Hessian, for sensitivities. Labelled examples where the model gives
 * scores of their classes, else the batches of a training task: texts of language models, masked tokens, numbers to predict.
 */
import { labelledBatches, type LossBatch, type LossData } from '../../analyze/loss-data.js'
import { probeOf } from '../../analyze/index.js'
import { lossRule } from '../../analyze/sensitivity/loss.js'
import { DataError, OptionError } from '../../base/errors.js'
import { shuffle } from '../../base/rng.js'
import { subset, type Dataset } from '../../data/dataset.js'
import { sha256Hex } from '../../formats/safetensors-digest.js'
import type { Model } from '../../nn/index.js'
import { widened } from '../../ops/index.js'
import { trainSettings } from './settings.js'
import type { TrainTask } from './task.js'

export interface TaskLossOptions {
  /** About as many samples are looked at: whole batches of `batchSize`. For language models a sample is a column of a window. Default 512. */
  readonly samples?: number
  /** Samples of a batch; default 8. */
  readonly batchSize?: number
  /** Of the order of the samples; default 0. */
  readonly seed?: number
}

/**
 * The first batches of a task as losses, the model run as in inference and (recurrent models) from the zero state with each batch. Memory holds what a batch is made
 * of, not its tensors.
 *
 * - samples or batchSize that are no positive integers: ERR_OPTION; a model or data that do not fit: the errors of the task
 *
 * @example
 * const losses = await taskLosses(model, language(tokens), { samples: 64 })
 * const found = await sensitivity.sensitivities(model, losses, { method: 'trace', quantize: gridQuantizer() })
 */
export async function taskLosses<B>(model: Model, task: TrainTask<B>, options: TaskLossOptions = {}): Promise<LossData> {
  const { samples = 512, batchSize = 8, seed = 0 } = options
  if (!Number.isInteger(samples) || samples < 1)
    throw new OptionError('ERR_OPTION', `taskLosses: samples must be an integer >= 1, got ${samples}`)
  const settings = trainSettings({ epochs: 1, batchSize, seed })
  task.check?.(model, settings)
  const prepared = (await task.prepare?.(model, settings, async () => {}))?.own
  const source = task.batches(model, settings, { epoch: 0, batch: 0 })
  try {
    const batches: LossBatch[] = []
    for (let i = 0; i < Math.min(Math.ceil(samples / batchSize), source.batchesPerEpoch); i++) {
      const batch = await source.next()
      batches.push({
        count: task.count(batch),
        loss: (of) => {
          const found = task.loss({ forward: (x) => widened(of.forward(x)), model: of, settings, step: i, prepared }, batch)
          return 'count' in found ? found.loss : found
        },
      })
    }
    const size = batches.reduce((n, b) => n + b.count, 0)
    if (size === 0) throw new DataError('ERR_DATA', `${task.name}: there is nothing to take a loss of`)
    const hash = sha256Hex(
      new TextEncoder().encode(JSON.stringify([task.kind, task.name, task.examples, task.options ?? {}, samples, batchSize, seed])),
    )
    return { name: task.name, size, batches, hash }
  } finally {
    source.close?.()
  }
}

/** Whether the model gives scores of classes: a classifier, or an encoder with a probe. */
export const scoresClasses = (model: Model): boolean =>
  model.info.task === 'classification' || (model.info.task === 'embedding' && probeOf(model) !== undefined)

interface Given {
  readonly data?: Dataset | undefined
  readonly task?: TrainTask | undefined
}

/** ERR_OPTION where there is neither a task nor data with labels that the model gives scores for. */
export function checkLosses(where: string, model: Model, { data, task }: Given): void {
  if (task && !(data && scoresClasses(model))) return
  if (!data) throw new OptionError('ERR_OPTION', `${where}: needs data with labels, or a task; give it as the option "data"`)
  lossRule(where, model, data)
  if (data.classes.length < 2)
    throw new OptionError('ERR_OPTION', `${where}: needs labels; ${data.name} has ${data.classes.length} classes of examples`)
}

/** The labelled examples, or what the task says: at most `samples` of them, drawn by the seed. */
export async function lossesOf(
  where: string,
  model: Model,
  given: Given,
  { samples, batchSize, seed }: Required<TaskLossOptions>,
): Promise<LossData> {
  checkLosses(where, model, given)
  const { data, task } = given
  if (!data || !scoresClasses(model)) return taskLosses(model, task!, { samples, batchSize, seed })
  const part = data.size <= samples ? data : subset(data, shuffle(data.size, seed).subarray(0, samples))
  return labelledBatches(model, part, batchSize, lossRule(where, model, part).loss)
}
