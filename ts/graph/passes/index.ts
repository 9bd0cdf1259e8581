/** THE table of passes: everything that lists, runs or explains them reads it. Each is a function graph -> graph; its law stands in its file. */
import { OptionError } from '../../base/errors.js'
import { subgraphs, type Graph } from '../graph.js'
import { foldAffine, foldBatchNorm } from './affine.js'
import { fuseAttention } from './attention.js'
import { removeDead, removeIdentities } from './clean.js'
import { shareCommon } from './common.js'
import { foldConstants } from './fold.js'
import { fuseFunctions } from './functions.js'
import { fuseNorms } from './norms.js'
import { fuseProducts } from './products.js'
import { mergeReshapes } from './reshapes.js'
import { mergeTransposes, transposeProducts } from './transposes.js'

export interface GraphPass {
  readonly name: string
  readonly summary: string
  /** How far outputs may move: not at all, or by rounding. */
  readonly law: 'exact' | 'rounding'
  /** Where the rule comes from. */
  readonly source?: string
  readonly run: (graph: Graph) => Graph
}

/** In the order in which they run: patterns are found before the numbers in them become part of weights. */
export const graphPasses: readonly GraphPass[] = [
  { name: 'fold-constants', summary: 'computes what depends on constants only', law: 'exact', run: foldConstants },
  { name: 'remove-identities', summary: 'takes out Identity, and Dropout outside of training', law: 'exact', run: removeIdentities },
  { name: 'share-common', summary: 'computes equal values once', law: 'exact', run: shareCommon },
  {
    name: 'fold-batch-norm',
    summary: 'batch norms behind convolutions and linear layers become part of their weights',
    law: 'rounding',
    source: 'Jacob et al. 2018, section 3.2',
    run: foldBatchNorm,
  },
  {
    name: 'fuse-norms',
    summary: 'layer and RMS norms written in arithmetic become one node',
    law: 'rounding',
    source: 'Ba, Kiros, Hinton 2016, eq. 4; Zhang, Sennrich 2019, eq. 4',
    run: fuseNorms,
  },
  {
    name: 'fuse-functions',
    summary: 'GELU (erf, tanh, sigmoid), SiLU and hard swish written in arithmetic become one node',
    law: 'rounding',
    source: 'Hendrycks, Gimpel 2016; Elfwing et al. 2017; Howard et al. 2019',
    run: fuseFunctions,
  },
  {
    name: 'fuse-attention',
    summary: 'softmax(q k^T scale + mask) v with its Transposes becomes one node',
    law: 'rounding',
    source: 'Vaswani et al. 2017, eq. 1; Dao et al. 2022',
    run: fuseAttention,
  },
  {
    name: 'fold-affine',
    summary: 'Mul, Div, Add, Sub by constants around convolutions and linear layers become part of their weights',
    law: 'rounding',
    run: foldAffine,
  },
  { name: 'merge-reshapes', summary: 'chains of Reshape, Flatten, Squeeze, Unsqueeze become one', law: 'exact', run: mergeReshapes },
  {
    name: 'merge-transposes',
    summary: 'Transposes move behind functions of elements, meet and cancel',
    law: 'exact',
    run: mergeTransposes,
  },
  { name: 'transpose-products', summary: 'products take transposed operands as they are', law: 'rounding', run: transposeProducts },
  {
    name: 'fuse-products',
    summary: 'convolution or linear layer, bias and activation become one node',
    law: 'rounding',
    run: fuseProducts,
  },
]

export interface OptimizeOptions {
  /** Names of passes; they run in the order of the table. Default: all. */
  readonly passes?: readonly string[]
  /** Sees each pass that ran. */
  readonly onPass?: (pass: PassResult) => void
}

export interface PassResult {
  readonly name: string
  /** Nodes before and after it, those of subgraphs included; what a pass left without use is taken out after it. */
  readonly before: number
  readonly after: number
}

/** Nodes of a graph and of its subgraphs. */
export function countNodes(graph: Graph): number {
  return graph.nodes.reduce((n, node) => n + 1 + subgraphs(node).reduce((m, g) => m + countNodes(g), 0), 0)
}

/**
 * The graph after passes, for running: weights that passes fold into one another are no longer there to be trained. Its outputs are the same, up to rounding.
 * ERR_OPTION for a pass that does not exist.
 *
 * @example
 * const small = optimizeGraph(graph, { passes: ['fold-constants', 'fuse-norms'] })
 */
export function optimizeGraph(graph: Graph, { passes, onPass }: OptimizeOptions = {}): Graph {
  for (const name of passes ?? [])
    if (!graphPasses.some((p) => p.name === name))
      throw new OptionError('ERR_OPTION', `passes: no pass ${JSON.stringify(name)}; there are ${graphPasses.map((p) => p.name).join(', ')}`)
  let g = graph
  for (const pass of graphPasses) {
    if (passes && !passes.includes(pass.name)) continue
    const before = countNodes(g)
    // Passes leave Identity nodes where a value has two names.
    g = removeDead(removeIdentities(pass.run(g)))
    onPass?.({ name: pass.name, before, after: countNodes(g) })
  }
  return g
}
