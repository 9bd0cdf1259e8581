/** Every operator and layer of tfjs models on small models against the outputs of TensorFlow.js (test/golden/make-tfjs.mjs). */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { graphFromTfjs, graphOf, kerasLayers, modelFromTfjs, runGraph, tfOperators } from '../../ts/graph/index.js'
import { memory } from '../../ts/index.js'
import { fromRaw, scope, type Tensor } from '../../ts/tensor/index.js'
import { tensorOf, tfjsModel, rawOf, type PlainTensor, type Result } from './tfjs-lib.js'

interface GraphCase {
  readonly name: string
  readonly topology: { readonly node: readonly { readonly op: string }[] }
  readonly tensors: Readonly<Record<string, PlainTensor>>
  readonly outputs: Readonly<Record<string, Result>>
}
interface LayersCase {
  readonly name: string
  readonly topology: unknown
  readonly tensors: Readonly<Record<string, PlainTensor>>
  readonly inputs: readonly PlainTensor[]
  readonly outputs: readonly Result[]
}
const golden = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, '../golden/tfjs.json'), 'utf8')) as {
  readonly graphs: readonly GraphCase[]
  readonly layers: readonly LayersCase[]
}

function close(got: Tensor, want: Result): void {
  expect(got.shape).toEqual(want.shape)
  const values = Array.from(got.read() as Float32Array, Number)
  want.data.forEach((w, i) => {
    const wanted = Number(w)
    if (Number.isFinite(wanted))
      expect(Math.abs(values[i]! - wanted), `element ${i}`).toBeLessThanOrEqual(2e-5 * Math.max(1, Math.abs(wanted)))
    else expect(values[i]).toBe(wanted)
  })
}

const signatureOf = (c: GraphCase): unknown => ({ outputs: Object.fromEntries(Object.keys(c.outputs).map((name) => [name, { name }])) })
const constants = (c: GraphCase): Record<string, PlainTensor> => Object.fromEntries(Object.entries(c.tensors).filter(([, t]) => !t.given))
const feeds = (c: GraphCase): [string, PlainTensor][] => Object.entries(c.tensors).filter(([, t]) => t.given)

describe('tfjs operators against tfjs', () => {
  for (const c of golden.graphs)
    it(c.name, () => {
      const model = modelFromTfjs(tfjsModel(c.topology, constants(c), signatureOf(c)))
      scope(() => {
        const out = model.predictAll(Object.fromEntries(feeds(c).map(([name, t]) => [name, tensorOf(t)])))
        for (const [name, want] of Object.entries(c.outputs)) close(out[name]!, want)
      })
      model.dispose()
    })

  it('has a case for every operator but aliases and those that tfjs itself has not', () => {
    const seen = new Set(golden.graphs.flatMap((c) => c.topology.node.map((n) => n.op)))
    expect(tfOperators().filter((op) => !seen.has(op))).toMatchInlineSnapshot(`
      [
        "BatchMatMul",
        "BatchMatMulV3",
        "CheckNumerics",
        "DepthwiseConv2d",
        "EnsureShape",
        "EuclideanNorm",
        "FusedBatchNorm",
        "FusedBatchNormV2",
        "FusedConv2D",
        "FusedMatMul",
        "IdentityN",
        "If",
        "Inv",
        "IsFinite",
        "IsInf",
        "L2Loss",
        "LogicalXor",
        "NoOp",
        "NonMaxSuppressionV2",
        "NonMaxSuppressionV4",
        "PlaceholderWithDefault",
        "PreventGradient",
        "Rint",
        "Select",
        "ShapeN",
        "Snapshot",
        "Softsign",
        "SpaceToDepth",
        "StatelessIf",
      ]
    `)
  })
})

describe('layers of Keras against tfjs', () => {
  for (const c of golden.layers)
    it(c.name, () => {
      const before = memory().tensors
      const model = modelFromTfjs(tfjsModel(c.topology, c.tensors))
      const graph = graphOf(model.root)!
      scope(() => {
        const out = model.predictAll(Object.fromEntries(graph.inputs.map((v, i) => [v.name, tensorOf(c.inputs[i]!)])))
        graph.outputs.forEach((name, i) => close(out[name]!, c.outputs[i]!))
      })
      model.dispose()
      expect(memory().tensors).toBe(before)
    })

  it('has a case for every layer but aliases and those that tfjs itself has not', () => {
    const seen = JSON.stringify(golden.layers.map((c) => c.topology))
    expect(kerasLayers().filter((name) => !seen.includes(`"class_name":"${name}"`))).toMatchInlineSnapshot(`
      [
        "ActivityRegularization",
        "AlphaDropout",
        "Functional",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalMaxPooling1D",
        "MultiplyBeta",
        "PixelShuffle2x",
        "PixelShuffle3x",
        "PixelShuffle4x",
        "PixelShuffle8x",
        "Rescaling",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "Subtract",
        "UpSampling1D",
        "ZeroPadding1D",
      ]
    `)
  })
})

describe('what an imported tfjs model is', () => {
  it('keeps images channels first from end to end: two transposes in a network of convolutions', () => {
    const c = golden.graphs.find(({ name }) => name === 'network')!
    const graph = graphFromTfjs(tfjsModel(c.topology, constants(c), { outputs: { y: { name: 'y' } } }))
    const transposes = graph.nodes.filter((n) => n.op === 'Transpose')
    expect(transposes).toHaveLength(1)
  })

  it('has layers as children under the names of the file, with their weights', () => {
    const c = golden.layers.find(({ name }) => name === 'Flatten of images')!
    const model = modelFromTfjs(tfjsModel(c.topology, c.tensors))
    const kinds = Object.entries(model.root.children).map(([name, child]) => [name.replace(/_?\d*$/, ''), child.kind])
    expect(kinds.map(([, kind]) => kind)).toEqual(['conv2d', 'linear'])
    expect([...model.weights()].every(({ path: p }) => /weight|bias/.test(p))).toBe(true)
    model.dispose()
  })

  it('runs as a graph of plain data, too', () => {
    const c = golden.graphs.find(({ name }) => name === 'TopKV2')!
    const graph = graphFromTfjs(tfjsModel(c.topology, constants(c), signatureOf(c)))
    scope(() => {
      const out = runGraph(graph, Object.fromEntries(feeds(c).map(([name, t]) => [name, fromRaw(rawOf(t))])))
      expect(Object.keys(out)).toEqual(Object.keys(c.outputs))
    })
  })
})
