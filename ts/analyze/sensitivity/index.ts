/**
 * Sensitivity of layers to fewer bits, and the bits to give them (mixed precision): Q-BERT (Shen et al. 2020), HAWQ-v2 (Dong et al. 2020), HAWQ-v3 (Yao et al. 2021).
 */
export { assignBits, rules as assignmentRules, type AssignmentRule, type AssignOptions, type BitAssignment } from './assign.js'
export { parseBudget, type Budget } from './budget.js'
export { canBeRounded, weightGroups, type WeightGroup } from './groups.js'
export { knapsack, type KnapsackOption, type KnapsackOptions, type KnapsackResult } from './knapsack.js'
export type { LossOf, Measured } from './loss.js'
export { sensitivities, type SensitivityOptions, type SensitivityProgress, type SensitivityState } from './measure.js'
export { checkBits, checkKnown, KEEP, knownFrom, knownSensitivities, type KnownSensitivities, type Quantize } from './rounded.js'
export { layerTimes, type LayerTimes, type TimeOptions } from './times.js'
export {
  methods as sensitivityMethods,
  parseSensitivities,
  sensitivitiesSchema,
  type GroupSensitivity,
  type Sensitivities,
  type SensitivityChoice,
  type SensitivityMethod,
} from './types.js'
