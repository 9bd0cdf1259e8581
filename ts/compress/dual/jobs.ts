/** Which weights get twins together: the one of a linear layer or convolution, both of a direction of a recurrent layer; and what follows a layer. */
import type { DualWeight, Model, Module, PlacedWeight } from '../../nn/index.js'
import { DenseWeight, MaskedWeight, placesOf, QuantizedWeight } from '../../nn/index.js'
import { add } from '../../ops/index.js'
import { sizeOf } from '../../base/shape.js'
import { full, type Tensor } from '../../tensor/index.js'

export interface Job {
  /** "rnn_l0", "fc1". */
  readonly key: string
  readonly layer: string
  readonly module: Module
  readonly cell: 'lstm' | 'gru' | 'linear'
  /** Of recurrent weights: "_l0". */
  readonly suffix: string
  /** The input weight, where it is a target, and the recurrent one; or the weight. */
  readonly parts: readonly PlacedWeight[]
  readonly outputs: number
  /** Units of a recurrent layer, else 0. */
  readonly units: number
  /** Sum of the biases, [outputs]. Call in a scope. */
  readonly bias: () => Tensor
}

const recurrent = /^weight_(ih|hh)(_l\d+(?:_reverse)?)$/

/** Columns of a weight as a matrix. */
export const colsOf = ({ shape }: { readonly shape: readonly number[] }): number => sizeOf(shape.slice(1))

function problem({ weight, role, module, name }: PlacedWeight, convolutions: boolean): string | undefined {
  const patches = role === 'kernel' && module.kind === 'conv2d' && module.config.groups === 1
  if (patches && !convolutions) return 'convolutions get twins where the option "convolutions" asks for them'
  if (role !== 'matrix' && !patches) return `a ${role} of kind ${module.kind}${module.kind === 'conv2d' ? ' in groups' : ''} has no twin`
  if (
    module.kind === 'lstm' || module.kind === 'gru'
      ? !recurrent.test(name)
      : !['linear', 'conv2d'].includes(module.kind) || name !== 'weight'
  )
    return `layers of kind ${module.kind} have no twins`
  const exact = (weight instanceof DenseWeight || weight instanceof MaskedWeight) && weight.value.dtype === 'f32'
  if (exact || (weight instanceof QuantizedWeight && weight.layout !== 'group' && !weight.zero && !weight.input)) return undefined
  return weight.kind === 'dual' ? 'it has a twin' : `${weight.description} is not f32 (dense or masked), or codes per tensor or row`
}

export function jobsOf(
  model: Model,
  targets: readonly PlacedWeight[],
  { convolutions }: { readonly convolutions: boolean },
): { readonly jobs: Job[]; readonly left: Map<string, string> } {
  const left = new Map<string, string>()
  const places = placesOf(model)
  const fit = targets.filter((t) => {
    const others = places.get(t.weight)!.filter((path) => path !== t.path)
    const shared = others.length > 0 ? `it is one weight with ${others.join(', ')}; a twin is fitted to the inputs of one layer` : undefined
    const reason = problem(t, convolutions) ?? shared
    if (reason) left.set(t.path, reason)
    return !reason
  })
  const jobs: Job[] = []
  for (const target of fit) {
    const { layer, module, weight, name } = target
    const outputs = weight.shape[0]!
    const bias = (names: readonly string[]) => (): Tensor =>
      names.reduce((sum, n) => (module.weights[n] ? add(sum, module.weights[n].dense()) : sum), full([outputs], 0))
    if (module.kind === 'linear' || module.kind === 'conv2d') {
      jobs.push({ key: layer || name, layer, module, cell: 'linear', suffix: '', parts: [target], outputs, units: 0, bias: bias(['bias']) })
      continue
    }
    const [, which, suffix] = recurrent.exec(name)!
    const input = fit.find((t) => t.layer === layer && t.name === `weight_ih${suffix}`)
    if (which === 'ih') {
      if (!fit.some((t) => t.layer === layer && t.name === `weight_hh${suffix}`)) left.set(target.path, 'its recurrent weight is no target')
      continue
    }
    jobs.push({
      key: `${layer}${suffix}`,
      layer,
      module,
      cell: module.kind as 'lstm' | 'gru',
      suffix: suffix!,
      parts: input ? [input, target] : [target],
      outputs,
      units: weight.shape[1]!,
      bias: bias([`bias_ih${suffix}`, `bias_hh${suffix}`]),
    })
  }
  return { jobs, left }
}

/** What the layer's outputs go through: a recurrent layer knows; a linear one stands before its activation in a container. */
export function followedBy(model: Model, { cell, layer }: Job): DualWeight['side'] | undefined {
  if (cell !== 'linear') return 'magnitude'
  const path = layer.split('.')
  const name = path.pop()
  const parent = path.reduce<Module | undefined>((m, part) => m?.children[part], model.root)
  const names = Object.keys(parent?.children ?? {})
  const next = parent?.children[names[names.indexOf(name!) + 1] ?? '']
  if (next?.kind !== 'activation') return undefined
  const { function: f } = next.config
  if (f === 'relu' || f === 'relu6') return 'below'
  return f === 'tanh' || f === 'sigmoid' ? 'magnitude' : undefined
}
