export * as hessian from './hessian/index.js'
export { cost, type Cost, type LayerCost } from './cost.js'
export {
  classScores,
  evaluateModel,
  latency,
  loyalty,
  loyaltyOf,
  outputs,
  type Evaluation,
  type Latency,
  type RunOptions,
} from './evaluate.js'
export { inspect, type Inspection, type WeightRow } from './inspect.js'
export type { LossBatch, LossData } from './loss-data.js'
export * as metrics from './metrics/index.js'
export { argmaxRows, percentile, probabilityLoyalty, shareEqual, topKShare, wilsonInterval } from './metrics/index.js'
export * as sensitivity from './sensitivity/index.js'
export { fitProbe, probeOf, probeScores, withProbe, type Embeddings, type Probe, type ProbeOptions } from './probe.js'
