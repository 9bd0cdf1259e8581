export { evaluateModel, latency, outputs, type Evaluation, type Latency, type RunOptions } from './evaluate.js'
export { inspect, type Inspection, type WeightRow } from './inspect.js'
export { argmaxRows, percentile, probabilityLoyalty, shareEqual, wilsonInterval } from './metrics.js'
export { fitProbe, probeOf, probeScores, withProbe, type Embeddings, type Probe, type ProbeOptions } from './probe.js'
