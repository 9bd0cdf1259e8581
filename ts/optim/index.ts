export { Optimizer, optimizerSchema, type OptimizerInput, type OptimizerSpec, type Parameter } from './optimizer.js'
export { lrAt, scheduleSchema, type Schedule } from './schedule.js'
