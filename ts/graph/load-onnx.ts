/** ONNX files as models: import, folding, layers found, values into tensors. */
import { ModelFormatError } from '../base/errors.js'
import { readOnnx, type OnnxModel, type OnnxReadOptions } from '../formats/onnx/index.js'
import { build, DenseWeight, Model, type ModelInfo, type ModelTask, type Module } from '../nn/index.js'
import { sameShape, sizeOf, type Shape } from '../base/shape.js'
import { fromRaw, scope, type Tensor } from '../tensor/index.js'
import { numbers } from './infer.js'
import { graphFromOnnx } from './import-onnx.js'
import { graphModule } from './module.js'
import { modularize, type RawValues } from './modules.js'
import { removeDead, removeIdentities } from './passes/clean.js'
import { foldConstants } from './passes/fold.js'
import { integerLayers } from './passes/integer-layers.js'
import type { Graph } from './graph.js'

export interface OnnxModelOptions extends OnnxReadOptions {
  /** What the output means, for training and evaluation. Default 'regression': numbers. */
  readonly task?: ModelTask
  readonly classes?: readonly string[]
  readonly name?: string
}

/**
 * A model from an ONNX file. It runs, trains and is compressed like one written by hand: layers have paths after the names in the file.
 * Errors of `readOnnx` and `graphFromOnnx`.
 *
 * @example
 * const model = loadOnnx('model.onnx')
 * const y = model.predict(zeros([1, 3, 224, 224]))
 */
export function loadOnnx(file: string, options: OnnxModelOptions = {}): Model {
  const name = file.replace(/^.*[\\/]/, '').replace(/\.onnx$/i, '')
  return modelFromOnnx(readOnnx(file, options), { name, ...options }, `load '${file}'`)
}

/** The same from data in memory (`parseOnnx`). */
export function modelFromOnnx(onnx: OnnxModel, options: Omit<OnnxModelOptions, keyof OnnxReadOptions> = {}, where = 'onnx'): Model {
  return modelFromGraph(graphFromOnnx(onnx, { where }), {
    name: options.name ?? (onnx.graph.name || 'onnx'),
    task: options.task ?? 'regression',
    ...(options.classes ? { classes: options.classes } : {}),
    history: [],
  })
}

/** A model of a checked graph, wherever it came from. */
export function modelFromGraph(graph: Graph, info: ModelInfo): Model {
  const clean = removeDead(foldConstants(integerLayers(removeIdentities(graph))))
  const root = moduleFromGraph(clean)
  const input = graph.inputs[0]?.shape
  const inner = input && input.length > 1 ? numbers(input.slice(1)) : undefined
  return new Model(root, { ...info, ...(inner?.every((d) => d > 0) && !info.inputShape ? { inputShape: inner } : {}) })
}

/** @internal The module of a graph; layers that it names already are `kept`. */
export function moduleFromGraph(graph: Graph, kept: Readonly<Record<string, Module>> = {}): Module {
  const { graph: rewritten, children, values, weights } = modularize(graph, new Set(Object.keys(kept)))
  const spec = graphModule(removeDead(rewritten), children)
  const read = (path: string, shape: Shape): Tensor => {
    const raw = values.get(path)!()
    if (raw.data.byteLength === 0 ? sizeOf(shape) !== 0 : sizeOf(raw.shape) !== sizeOf(shape))
      throw new ModelFormatError('ERR_MODEL_FORMAT', `graph: ${path} must have shape [${shape.join(', ')}], got [${raw.shape.join(', ')}]`)
    return fromRaw({ ...raw, shape }, raw.turned)
  }
  // Layers that take the same constant in the same way share a weight.
  const shared = new Map<() => RawValues, DenseWeight[]>()
  const dense = (path: string, shape: Shape): DenseWeight => {
    const source = values.get(path)!
    const made = shared.get(source) ?? []
    shared.set(source, made)
    let found = made.find((w) => sameShape(w.shape, shape))
    if (!found) made.push((found = new DenseWeight(read(path, shape))))
    return found
  }
  const root = scope(() =>
    build(spec, {
      weight: (path, shape) => weights.get(path)?.() ?? dense(path, shape),
      state: (path, shape) => read(path, shape),
    }),
  )
  return { ...root, children: { ...root.children, ...kept } }
}
