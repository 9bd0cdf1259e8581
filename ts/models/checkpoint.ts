/**
 * Tensors under the names of PyTorch's state dicts (torchvision's checkpoints as safetensors) into a built-in architecture. Names of modules are the
 * same here; a batch norm says weight, bias, running_mean, running_var instead of gamma, beta, mean, variance. `num_batches_tracked` is left aside,
 * a prefix "module." that all names share is taken off.
 *
 * Contract: every tensor of the architecture is found with its shape, none is left over; else ERR_MODEL_FORMAT and nothing stays allocated.
 */
import type { RawTensor } from '../base/dtype.js'
import { ModelFormatError, OptionError } from '../base/errors.js'
import { suggestion } from '../base/nearest.js'
import { sameShape, type Shape } from '../base/shape.js'
import { build, DenseWeight, Model, specTensors, type ModelInfo, type ModuleSpec, type SpecTensor } from '../nn/index.js'
import { cast } from '../ops/index.js'
import { fromRaw, scope, type Tensor } from '../tensor/index.js'
import { architectures, type ArchitectureName } from './architectures.js'

export interface CheckpointOptions {
  /** Name of a built-in architecture: 'resnet18'. */
  readonly architecture: ArchitectureName
  /** Of one input; by default what fits the tensors (3 x 224 x 224, 3 x 32 x 32 for nets made for CIFAR). */
  readonly inputShape?: Shape
  /** Names of the classes; by default their numbers. */
  readonly classes?: readonly string[]
}

/** Tensors by name, read one at a time. */
export interface NamedTensors {
  readonly tensors: ReadonlyMap<string, { readonly dtype: string; readonly shape: Shape }>
  readTensor(name: string): RawTensor
}

const batchNormNames: Readonly<Record<string, string>> = { gamma: 'weight', beta: 'bias', mean: 'running_mean', variance: 'running_var' }
/** Other names of one and the same layer: CIFAR nets call their head `linear` as often as `fc`. */
const aliases: readonly (readonly [RegExp, string])[] = [[/^fc\./, 'linear.']]

function namesOf({ path, kind }: SpecTensor): string[] {
  const cut = path.lastIndexOf('.')
  const name = kind === 'batchNorm' ? path.slice(0, cut + 1) + batchNormNames[path.slice(cut + 1)]! : path
  return [name, ...aliases.filter(([from]) => from.test(name)).map(([from, to]) => name.replace(from, to))]
}

const floats: readonly string[] = ['f32', 'f64', 'f16', 'bf16']

/** Where each tensor of the spec stands in the file, or why it does not. */
function assign(spec: ModuleSpec, source: NamedTensors, prefix: string): { readonly names: Map<string, string>; readonly fault?: string } {
  const names = new Map<string, string>()
  const left = new Set([...source.tensors.keys()].filter((name) => !name.endsWith('num_batches_tracked')))
  for (const want of specTensors(spec)) {
    const name = namesOf(want)
      .map((n) => prefix + n)
      .find((n) => source.tensors.has(n))
    if (name === undefined) return { names, fault: `tensor ${JSON.stringify(namesOf(want)[0])} is missing` }
    const { shape, dtype } = source.tensors.get(name)!
    if (!sameShape(shape, want.shape) || !floats.includes(dtype))
      return {
        names,
        fault: `tensor ${JSON.stringify(name)} must be floating [${want.shape.join(', ')}], got ${dtype}[${shape.join(', ')}]`,
      }
    left.delete(name)
    names.set(want.path, name)
  }
  const some = [...left].slice(0, 5).map((name) => JSON.stringify(name))
  return left.size ? { names, fault: `${left.size} tensors belong to nothing in the architecture: ${some.join(', ')}` } : { names }
}

/** Sides of images to try where the caller names no shape. */
const usualSides = (name: string): readonly number[] =>
  ['resnet20', 'resnet32', 'resnet44', 'resnet56', 'resnet110'].includes(name)
    ? [32]
    : ['lenet5', 'convnet'].includes(name)
      ? [28]
      : [224, 32]

/**
 * A model of a built-in architecture from tensors under the names of PyTorch's state dicts. Channels and classes follow from the tensors.
 *
 * - an unknown architecture, a shape that it does not take, a wrong number of class names: ERR_OPTION
 * - a tensor missing, left over or of another shape: ERR_MODEL_FORMAT
 *
 * @example
 * const model = loadModel('resnet18.safetensors', { architecture: 'resnet18' })   // calls this where the file has no architecture of its own
 */
export function fromCheckpoint(source: NamedTensors, options: CheckpointOptions, where = 'fromCheckpoint'): Model {
  const { architecture, inputShape, classes } = options
  const known = Object.keys(architectures)
  if (!Object.hasOwn(architectures, architecture))
    throw new OptionError('ERR_OPTION', `${where}: unknown architecture ${JSON.stringify(architecture)}${suggestion(architecture, known)}`)
  const prefix = [...source.tensors.keys()].every((name) => name.startsWith('module.')) && source.tensors.size > 0 ? 'module.' : ''
  const make = architectures[architecture]
  const fit = (shape: Shape): { spec: ModuleSpec; count: number; shape: Shape } => {
    const head = specTensors(make({ inputShape: shape, classes: 2 }).spec)
      .filter((t) => t.role === 'matrix')
      .at(-1)!
    const name = namesOf(head).find((n) => source.tensors.has(prefix + n))
    const count = (name === undefined ? undefined : source.tensors.get(prefix + name)!.shape[0]) ?? 0
    const made = make({ inputShape: shape, classes: Math.max(1, count) })
    return { spec: made.spec, count, shape: made.inputShape }
  }
  const stem = [...source.tensors.values()].find((t) => t.shape.length === 4)
  if (!inputShape && !stem) throw new OptionError('ERR_OPTION', `${where}: ${architecture} needs inputShape: the tensors do not say it`)
  const shapes = inputShape ? [inputShape] : usualSides(architecture).map((side) => [stem!.shape[1]!, side, side])
  const tried = shapes.map((shape) => {
    const found = fit(shape)
    return { ...found, ...assign(found.spec, source, prefix) }
  })
  const found = tried.find((t) => t.fault === undefined) ?? tried[0]!
  if (found.fault !== undefined)
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${architecture}: ${found.fault}`, {
      details: { format: 'safetensors', reason: 'checkpoint' },
    })
  if (classes && classes.length !== found.count)
    throw new OptionError('ERR_OPTION', `${where}: classes must hold ${found.count} names, got ${classes.length}`)
  const info: ModelInfo = {
    name: architecture,
    task: 'classification',
    classes: classes ?? Array.from({ length: found.count }, (_, i) => String(i)),
    inputShape: found.shape,
    history: [],
  }
  const read = (path: string): Tensor => {
    const t = fromRaw(source.readTensor(found.names.get(path)!))
    return t.dtype === 'f32' ? t : cast(t, 'f32')
  }
  return scope(() => new Model(build(found.spec, { weight: (path) => new DenseWeight(read(path)), state: (path) => read(path) }), info))
}
