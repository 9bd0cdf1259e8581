/** Operators of TensorFlow by name: each says which nodes of ONNX it is. */
import type { TfNode } from '../../formats/tfjs-graph.js'
import type { Builder, Val } from './builder.js'

/** Results of a node; one value stands for the first. Undefined results are those that nobody can ask for. */
export type Row = (b: Builder, x: readonly Val[], node: TfNode) => Val | readonly (Val | undefined)[]
