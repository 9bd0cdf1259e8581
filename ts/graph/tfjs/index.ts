/** Models of TensorFlow.js as graphs: graph models (GraphDef) and layers models (Keras), with their weights. */
import { UnsupportedError } from '../../base/errors.js'
import { formatContext, type ReadOptions } from '../../formats/limits.js'
import type { TfjsModel } from '../../formats/tfjs.js'
import { readTfGraph } from '../../formats/tfjs-graph.js'
import { readKerasModel } from '../../formats/tfjs-layers.js'
import { checkGraph, type Graph } from '../graph.js'
import '../onnx/index.js'
import { graphOfTfGraph } from './import-graph.js'
import { graphOfKerasModel } from './import-layers.js'

export { tfOperators } from './import-graph.js'
export { kerasLayers } from './import-layers.js'

/**
 * The graph of a tfjs model, checked and in order, in the operators of ONNX (docs/adr/0013-tfjs.md says why). Images stay channels last at inputs and
 * outputs; integers are i64 inside.
 *
 * - a topology that is not valid (cycle, missing node or weight, wrong attribute): ERR_MODEL_FORMAT; shapes that cannot fit: ERR_SHAPE
 * - operators or layers without a row: ERR_UNSUPPORTED with the list of all of them; limits of `ReadOptions`: ERR_LIMIT
 *
 * @example
 * const graph = graphFromTfjs(readTfjs('model.json'))
 */
export function graphFromTfjs(model: TfjsModel, options: ReadOptions & { readonly where?: string; readonly name?: string } = {}): Graph {
  const ctx = { ...formatContext('tfjs', undefined, options), ...(options.where === undefined ? {} : { where: options.where }) }
  const { topology, tensors } = model
  const name = options.name ?? 'tfjs'
  if (topology instanceof Map && topology.has('node'))
    return checkGraph(ctx.where, graphOfTfGraph(ctx, readTfGraph(ctx, topology, model.signature), tensors, name))
  if (topology instanceof Map && (topology.has('model_config') || topology.has('class_name')))
    return checkGraph(ctx.where, graphOfKerasModel(ctx, readKerasModel(ctx, topology), tensors, name))
  throw new UnsupportedError(
    'ERR_UNSUPPORTED',
    `${ctx.where}: the file has weights and no topology that is known: neither a graph nor layers`,
    {
      details: { what: 'tfjs topology' },
    },
  )
}
