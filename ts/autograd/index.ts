export { add, broadcastTo, padSlice, permute, reshape, slice, sum, sumTo, transpose } from './core.js'
export { grad, valueAndGrad, type TensorTree, type ValueAndGrad } from './grad.js'
export { hvpOperator, HvpOperator } from './second-order.js'
export {
  defineOp,
  definePrimitive,
  definedOps,
  done,
  watchCalls,
  withAdapter,
  type Adapter,
  type Call,
  type DefinedOp,
  type Gradients,
  type Op,
  type OpDefinition,
  type PrimitiveDefinition,
  type Sampler,
  type TapeNode,
} from './primitive.js'
