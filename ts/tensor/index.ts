export { Tensor, callOp, callOpAsync } from './tensor.js'
export { scope, keep, collectDisposables } from './scope.js'
export { tensor, zeros, ones, full, fromRaw, toRaw, type NestedNumbers } from './create.js'
