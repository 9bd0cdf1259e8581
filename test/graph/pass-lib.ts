/** Graphs for the laws of passes: values of a graph before and after one. */
import { expect } from 'vitest'
import { scope, tensor, type Tensor } from '../../ts/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { graphFromOnnx, optimizeGraph, runGraph, type Graph } from '../../ts/graph/index.js'
import { constant, model, node, random, value, type ModelInit, type NodeInit, type TensorInit } from './build.js'

export interface Sketch {
  /** Names with sizes; a size may be a name, which is then given by `sizes`. */
  readonly inputs: Readonly<Record<string, readonly (number | string)[]>>
  readonly nodes: readonly NodeInit[]
  readonly constants?: readonly TensorInit[]
  readonly outputs?: readonly string[]
  readonly of?: ModelInit
}

export const graphOf = ({ inputs, nodes, constants = [], outputs = ['y'], of = {} }: Sketch): Graph =>
  graphFromOnnx(
    parseOnnx(
      model(
        {
          input: Object.entries(inputs).map(([name, dims]) => value(name, dims)),
          output: outputs.map((name) => value(name)),
          node: [...nodes],
          initializer: [...constants],
        },
        of,
      ),
    ),
  )

const sizes: Readonly<Record<string, number>> = { B: 2, T: 5, S: 6 }

/** Values of all outputs on drawn inputs. */
export function outputs(g: Graph, seed: number): { shape: readonly number[]; values: number[] }[] {
  const draw = random(seed)
  return scope(() => {
    const feeds = Object.fromEntries(
      g.inputs.map((v) => {
        const dims = v.shape!.map((d) => (typeof d === 'number' ? d : sizes[d!]!))
        return [v.name, tensor(Float32Array.from(draw(dims.reduce((a, b) => a * b, 1), 2)), dims)] // prettier-ignore
      }),
    )
    const out = runGraph(g, feeds)
    return g.outputs.map((name) => ({ shape: (out[name] as Tensor).shape, values: Array.from((out[name] as Tensor).read(), Number) }))
  })
}

/** The law: `pass` gives a graph with the same outputs, exactly or up to `tolerance`. Gives that graph. */
export function law(g: Graph, pass: string | ((g: Graph) => Graph), tolerance = 1e-5): Graph {
  const after = typeof pass === 'string' ? optimizeGraph(g, { passes: [pass] }) : pass(g)
  for (const seed of [1, 2]) {
    const [want, got] = [outputs(g, seed), outputs(after, seed)]
    want.forEach(({ shape, values }, i) => {
      expect(got[i]!.shape).toEqual(shape)
      if (tolerance === 0) expect(got[i]!.values).toEqual(values)
      const largest = values.reduce((m, v) => Math.max(m, Math.abs(v)), 1)
      const worst = values.reduce((m, v, k) => Math.max(m, Math.abs(v - got[i]!.values[k]!)), 0)
      expect(worst / largest).toBeLessThanOrEqual(tolerance)
    })
  }
  return after
}

export const ops = (g: Graph): string[] => g.nodes.map((n) => (n.domain === '' ? n.op : `${n.domain}.${n.op}`))
const draw = random(9)
/** A constant of drawn numbers. */
export const drawn = (name: string, ...dims: number[]): TensorInit => constant(name, dims, draw(dims.reduce((a, b) => a * b, 1), 0.7)) // prettier-ignore
export const number = (name: string, v: number, ...dims: number[]): TensorInit => constant(name, dims, [v])
export const ints = (name: string, ...v: number[]): TensorInit => constant(name, [v.length], v, 'i64')

// Patterns as exporters write them: nodes from `x` to `y`, and their constants.

export interface Pattern {
  readonly nodes: readonly NodeInit[]
  readonly constants: readonly TensorInit[]
}

export const geluErf = (x: string, y: string): Pattern => ({
  constants: [number('sqrt2', Math.SQRT2), number('one', 1), number('half', 0.5)],
  nodes: [
    node('Div', [x, 'sqrt2'], [`${y}_d`]),
    node('Erf', [`${y}_d`], [`${y}_e`]),
    node('Add', [`${y}_e`, 'one'], [`${y}_a`]),
    node('Mul', [x, `${y}_a`], [`${y}_m`]),
    node('Mul', [`${y}_m`, 'half'], [y]),
  ],
})
/** Half first, a product with 1 / sqrt 2, the other order of operands. */
export const geluErfTf = (x: string, y: string): Pattern => ({
  constants: [number('isqrt2', Math.SQRT1_2), number('one', 1), number('half', 0.5)],
  nodes: [
    node('Mul', ['half', x], [`${y}_h`]),
    node('Mul', [x, 'isqrt2'], [`${y}_d`]),
    node('Erf', [`${y}_d`], [`${y}_e`]),
    node('Add', ['one', `${y}_e`], [`${y}_a`]),
    node('Mul', [`${y}_a`, `${y}_h`], [y]),
  ],
})
export const geluTanh = (x: string, y: string): Pattern => ({
  constants: [number('three', 3), number('c', 0.044715), number('s', Math.sqrt(2 / Math.PI)), number('one', 1), number('half', 0.5)],
  nodes: [
    node('Mul', ['half', x], [`${y}_h`]),
    node('Pow', [x, 'three'], [`${y}_p`]),
    node('Mul', ['c', `${y}_p`], [`${y}_c`]),
    node('Add', [x, `${y}_c`], [`${y}_s`]),
    node('Mul', ['s', `${y}_s`], [`${y}_t`]),
    node('Tanh', [`${y}_t`], [`${y}_u`]),
    node('Add', ['one', `${y}_u`], [`${y}_a`]),
    node('Mul', [`${y}_h`, `${y}_a`], [y]),
  ],
})
export const geluFast = (x: string, y: string): Pattern => ({
  constants: [number('c', 0.044715), number('s', 0.7978845608), number('one', 1), number('half', 0.5)],
  nodes: [
    node('Mul', [x, 'half'], [`${y}_h`]),
    node('Mul', [x, 's'], [`${y}_p`]),
    node('Mul', [x, 'c'], [`${y}_c`]),
    node('Mul', [`${y}_c`, x], [`${y}_q`]),
    node('Add', [`${y}_q`, 'one'], [`${y}_s`]),
    node('Mul', [`${y}_p`, `${y}_s`], [`${y}_t`]),
    node('Tanh', [`${y}_t`], [`${y}_u`]),
    node('Add', [`${y}_u`, 'one'], [`${y}_a`]),
    node('Mul', [`${y}_h`, `${y}_a`], [y]),
  ],
})
/** PyTorch and Paddle; the number of dimensions that are normalised is that of gamma. */
export const layerNorm = (x: string, y: string, width: number, axes: readonly number[] = [-1]): Pattern => ({
  constants: [number('two', 2), number('eps', 1e-5), drawn(`${y}_g`, width), drawn(`${y}_b`, width)],
  nodes: [
    node('ReduceMean', [x], [`${y}_m`], { axes }),
    node('Sub', [x, `${y}_m`], [`${y}_d`]),
    node('Pow', [`${y}_d`, 'two'], [`${y}_p`]),
    node('ReduceMean', [`${y}_p`], [`${y}_v`], { axes }),
    node('Add', [`${y}_v`, 'eps'], [`${y}_e`]),
    node('Sqrt', [`${y}_e`], [`${y}_s`]),
    node('Div', [`${y}_d`, `${y}_s`], [`${y}_n`]),
    node('Mul', [`${y}_n`, `${y}_g`], [`${y}_w`]),
    node('Add', [`${y}_w`, `${y}_b`], [y]),
  ],
})
export const layerNormTf = (x: string, y: string, width: number): Pattern => ({
  constants: [number('eps', 1e-3), drawn(`${y}_g`, width), drawn(`${y}_b`, width)],
  nodes: [
    node('ReduceMean', [x], [`${y}_m`], { axes: [-1] }),
    node('Sub', [x, `${y}_m`], [`${y}_d`]),
    node('Mul', [`${y}_d`, `${y}_d`], [`${y}_p`]),
    node('ReduceMean', [`${y}_p`], [`${y}_v`], { axes: [-1] }),
    node('Add', [`${y}_v`, 'eps'], [`${y}_e`]),
    node('Sqrt', [`${y}_e`], [`${y}_s`]),
    node('Reciprocal', [`${y}_s`], [`${y}_i`]),
    node('Mul', [`${y}_i`, `${y}_g`], [`${y}_r`]),
    node('Mul', [x, `${y}_r`], [`${y}_x`]),
    node('Mul', [`${y}_m`, `${y}_r`], [`${y}_c`]),
    node('Sub', [`${y}_b`, `${y}_c`], [`${y}_o`]),
    node('Add', [`${y}_x`, `${y}_o`], [y]),
  ],
})

/** Multi-head attention of x [B, T, C]: projections, heads, scores, mask (if named), the way back. */
export function attention(
  x: string,
  y: string,
  width: number,
  heads: number,
  how: { mask?: string; scale?: 'scores' | 'q' | 'both' } = {},
): Pattern {
  const depth = width / heads
  const { mask, scale = 'scores' } = how
  const root = Math.sqrt(depth)
  const part = (p: string, perm: readonly number[]): NodeInit[] => [
    node('MatMul', [x, `${y}_w${p}`], [`${y}_l${p}`]),
    node('Add', [`${y}_l${p}`, `${y}_b${p}`], [`${y}_a${p}`]),
    node('Reshape', [`${y}_a${p}`, 'split'], [`${y}_r${p}`]),
    node('Transpose', [`${y}_r${p}`], [`${y}_${p}`], { perm }),
  ]
  const q = scale === 'scores' ? `${y}_q` : `${y}_qs`
  const k = scale === 'both' ? `${y}_ks` : `${y}_k`
  return {
    constants: [
      ...['q', 'k', 'v'].flatMap((p) => [drawn(`${y}_w${p}`, width, width), drawn(`${y}_b${p}`, width)]),
      ints('split', 0, 0, heads, depth),
      ints('join', 0, 0, width),
      number('root', root),
      number('inverse', 1 / root),
      number('fourth', 1 / Math.sqrt(root)),
    ],
    nodes: [
      ...part('q', [0, 2, 1, 3]),
      ...part('k', [0, 2, 3, 1]),
      ...part('v', [0, 2, 1, 3]),
      ...(scale === 'q' ? [node('Mul', [`${y}_q`, 'inverse'], [q])] : []),
      ...(scale === 'both' ? [node('Mul', [`${y}_q`, 'fourth'], [q]), node('Mul', [`${y}_k`, 'fourth'], [k])] : []),
      node('MatMul', [q, k], [`${y}_s`]),
      ...(scale === 'scores' ? [node('Div', [`${y}_s`, 'root'], [`${y}_d`])] : []),
      ...(mask ? [node('Add', [scale === 'scores' ? `${y}_d` : `${y}_s`, mask], [`${y}_m`])] : []),
      node('Softmax', [mask ? `${y}_m` : scale === 'scores' ? `${y}_d` : `${y}_s`], [`${y}_p`], { axis: -1 }),
      node('MatMul', [`${y}_p`, `${y}_v`], [`${y}_o`]),
      node('Transpose', [`${y}_o`], [`${y}_t`], { perm: [0, 2, 1, 3] }),
      node('Reshape', [`${y}_t`, 'join'], [y]),
    ],
  }
}

/** Constants of several patterns, each name once. */
export function together(...patterns: readonly Pattern[]): { nodes: NodeInit[]; constants: TensorInit[] } {
  const constants = new Map(patterns.flatMap((p) => p.constants.map((c) => [c.name, c] as const)))
  return { nodes: patterns.flatMap((p) => [...p.nodes]), constants: [...constants.values()] }
}
