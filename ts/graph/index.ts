/** Graphs of operators: import, types, execution. */
export {
  defineOnnxOp,
  floatAttribute,
  floatsAttribute,
  graphAttribute,
  hasAttribute,
  intAttribute,
  intsAttribute,
  onnxOp,
  onnxOps,
  SequenceValue,
  stringAttribute,
  type InferContext,
  type OnnxOp,
  type RunContext,
  type Value,
  type ValueType,
} from './define.js'
export { checkSupported, runGraph, unsupported, type RunOptions } from './executor.js'
export {
  checkGraph,
  freeNames,
  mapSubgraphs,
  nodeLabel,
  subgraphs,
  type Attribute,
  type Dim,
  type ElementType,
  type Graph,
  type GraphNode,
  type GraphTensor,
  type ValueInfo,
} from './graph.js'
export { HostTensor, hostInts, hostScalar, hostStrings, toHost, toNative } from './host.js'
export { graphFromOnnx, type ImportOptions } from './import-onnx.js'
export { inferTypes } from './infer.js'
export { exampleInput, exportOnnx, exportProfiles, type Example, type ExportOptions, type ExportProfile } from './export/index.js'
export { channelStructure, ChannelStructure, type UnitSet } from './cut.js'
export { followChannels, type ChannelGroup, type GroupSlice } from './groups.js'
export { trace, type Trace, type TracedCall, type TracedValue } from './trace.js'
export { graphFromJson, graphToJson } from './json.js'
export { loadOnnx, modelFromGraph, modelFromOnnx, type OnnxModelOptions } from './load-onnx.js'
export { loadTfjsModel, modelFromTfjs, type TfjsModelOptions } from './load-tfjs.js'
export { graphFromTfjs, kerasLayers, tfOperators } from './tfjs/index.js'
export { graphModule, graphOf } from './module.js'
export { modularize, type Modularized } from './modules.js'
export { optimizeModel, type OptimizedModel } from './optimize-model.js'
export { pairsInStructure, pairsInTrace } from './norm-flow.js'
export { foldAffine, foldBatchNorm } from './passes/affine.js'
export { fuseAttention } from './passes/attention.js'
export { removeDead, removeIdentities } from './passes/clean.js'
export { shareCommon } from './passes/common.js'
export { foldConstants } from './passes/fold.js'
export { fuseFunctions } from './passes/functions.js'
export { countNodes, graphPasses, optimizeGraph, type GraphPass, type OptimizeOptions, type PassResult } from './passes/index.js'
export { integerLayers } from './passes/integer-layers.js'
export { fuseNorms } from './passes/norms.js'
export { fuseProducts } from './passes/products.js'
export { mergeReshapes } from './passes/reshapes.js'
export { mergeTransposes, transposeProducts } from './passes/transposes.js'
