/** ONNX files as plain data. */
export { parseOnnx, readOnnx, type OnnxReadOptions } from './read.js'
export {
  bitsOf,
  elementTypes,
  noAttributes,
  numberOf,
  type Dim,
  type ElementType,
  type OnnxAttribute,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type ValueInfo,
} from './types.js'
export { constantBytes, encodeOnnx, wantsExternal, writeOnnx, type OnnxWriteOptions } from './write.js'
