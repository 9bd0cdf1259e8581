/**
 * A bench harness for noisy machines: contenders are measured interleaved, medians with quartiles, ratios round by round.
 * It loads no native code.
 *
 * @example
 * import { resultTable, suite } from 'tersor/bench'
 * const values = new Float32Array(100)
 * const result = await suite({
 *   name: 'copy',
 *   cases: [{ name: '100 floats' }],
 *   contenders: [{ name: 'slice', prepare: () => () => values.slice() }, { name: 'from', prepare: () => () => Float32Array.from(values) }],
 * }).run({ rounds: 3, ms: 1 })
 * result.cases.length          // 1
 * typeof resultTable(result)   // 'string'
 */
export {
  suite,
  type BenchCase,
  type CaseResult,
  type Contender,
  type Entry,
  type Prepared,
  type Progress,
  type Ready,
  type RunOptions,
  type Suite,
  type SuiteResult,
  type SuiteSpec,
} from './suite.js'
export { benchmarkSampler, defaultSampler, loopSampler, type Sampler } from './sampler.js'
export { quantile, ratio, summarize, type Summary } from './statistics.js'
export { digits, formatSpread, formatTime, markdown, resultMarkdown, resultRows, resultTable, table } from './render.js'
export { machine, type Machine } from './machine.js'
