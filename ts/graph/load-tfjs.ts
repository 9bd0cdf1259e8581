/** Models of TensorFlow.js as models of Tersor: import, folding, layers found, values into tensors. */
import type { BeneathOptions } from '../formats/beneath.js'
import { readTfjs, type TfjsModel } from '../formats/tfjs.js'
import type { Model, ModelTask } from '../nn/index.js'
import { modelFromGraph } from './load-onnx.js'
import { graphFromTfjs } from './tfjs/index.js'

export interface TfjsModelOptions extends BeneathOptions {
  /** What the output means, for training and evaluation. Default 'regression': numbers. */
  readonly task?: ModelTask
  readonly classes?: readonly string[]
  /** Default: the name of the folder. */
  readonly name?: string
}

/**
 * A model from the model.json of a tfjs graph or layers model and the shards beside it. It runs, trains and is compressed like one written by hand;
 * inputs and outputs are as in tfjs (channels last), with the names of their nodes or layers. Errors of `readTfjs` and `graphFromTfjs`.
 *
 * @example
 * const model = loadTfjsModel('esrgan/model.json')
 * const y = model.predict(zeros([1, 32, 32, 3]))
 */
export function loadTfjsModel(file: string, options: TfjsModelOptions = {}): Model {
  return modelFromTfjs(readTfjs(file, options), { name: nameOf(file), ...options }, `load '${file}'`)
}

/** The same from data in memory (`readTfjs`). */
export function modelFromTfjs(tfjs: TfjsModel, options: TfjsModelOptions = {}, where = 'tfjs'): Model {
  const name = options.name ?? 'tfjs'
  return modelFromGraph(graphFromTfjs(tfjs, { ...options, where, name }), {
    name,
    task: options.task ?? 'regression',
    ...(options.classes ? { classes: options.classes } : {}),
    history: [{ source: `tfjs ${tfjs.kind ?? 'model'}` }],
  })
}

function nameOf(file: string): string {
  const parts = file.split(/[\\/]/).filter((p) => p !== '' && p !== '.' && p !== '..')
  return parts.at(-2) ?? 'tfjs'
}
