export {
  Tensor,
  callOp,
  callOpAsync,
  callOpInto,
  callPlan,
  callPlanInto,
  firstResult,
  mover,
  tensorFromPage,
  watchReads,
} from './tensor.js'
export { scope, keep, collectDisposables, withoutTensors } from './scope.js'
export { tensor, zeros, ones, full, fromRaw, toRaw, type NestedNumbers } from './create.js'
