/** What a structured pruning is going to do, before anything is paid for; throws what would fail later. */
import { OptionError } from '../../../base/errors.js'
import type { JsonObject } from '../../../base/json-types.js'
import { channelStructure } from '../../../graph/index.js'
import type { Model, UnitKind } from '../../../nn/index.js'
import type { PlanFacts } from '../../pass.js'
import { checkRetrain, retrainEpochs } from '../../train/retrain.js'
import { trainingOf } from '../../train/settings.js'
import { eligibleGroups } from './eligible.js'
import type { StructuredOptions } from './options.js'
import { checkShare, keptLocally } from './select.js'
import { ModelSize } from './size.js'

export function structuredPlan(where: string, unit: UnitKind, model: Model, o: StructuredOptions, facts: PlanFacts): JsonObject {
  const training = o.training ?? trainingOf(model.info)
  if (o.retrain.kind !== 'none' && !training)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: retraining repeats the training of ${model.info.name}, but its history names none; give it as the option "training"`,
    )
  if (training) checkRetrain(where, o.retrain, training, facts.snapshots)
  const structure = channelStructure(model)
  const { groups, left } = eligibleGroups(structure, unit, facts.targets, o.roundTo)
  if (o.ratio !== undefined && o.scope === 'local') for (const g of groups) checkShare(where, g.name, unit, g.units.length, o.ratio)
  const counts = o.macs !== undefined || (o.retrain.kind === 'scratch' && o.retrain.budget === 'compute')
  if (counts && new ModelSize(model, structure).macs === undefined)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: ${model.info.name} does not say what it takes, so its multiply-adds cannot be counted; give ratio or size, and no budget of compute`,
    )
  // Scratch-B pays with the arithmetic that is left: how much that is shows when units have gone; the most is told.
  const epochsPerRound = retrainEpochs(o.retrain, training, 0)
  return {
    unit,
    rounds: o.rounds,
    groups: groups.map((g) => ({
      name: g.name,
      units: g.units.length,
      ...(o.ratio !== undefined && o.scope === 'local' ? { kept: keptLocally(g.units.length, o.ratio, o.roundTo) } : {}),
    })),
    leftAlone: left.length,
    retrain: o.retrain.kind,
    epochsPerRound,
    epochs: epochsPerRound * o.rounds,
    ...(training ? { originalEpochs: training.epochs, epochsInAll: training.epochs + epochsPerRound * o.rounds } : {}),
  }
}
