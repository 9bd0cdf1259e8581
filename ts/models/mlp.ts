/** Multi-layer perceptron 784-300-100-10 for MNIST (LeCun et al. 1998, section III): two hidden layers of 300 and 100 units, ReLU. */
import { sizeOf } from '../base/shape.js'
import { activation, flatten, linear, sequential, type ModuleSpec } from '../nn/index.js'
import type { Architecture, ArchitectureOptions } from './architecture.js'

export function mlp({ inputShape, classes }: ArchitectureOptions, hidden: readonly number[] = [300, 100]): Architecture {
  const layers: Record<string, ModuleSpec> = { flatten: flatten({}) }
  let width = sizeOf(inputShape)
  hidden.forEach((units, i) => {
    layers[`fc${i + 1}`] = linear({ in: width, out: units, bias: true, init: 'he' })
    layers[`relu${i + 1}`] = activation({ function: 'relu' })
    width = units
  })
  layers[`fc${hidden.length + 1}`] = linear({ in: width, out: classes, bias: true, init: 'he' })
  return { spec: sequential(layers), inputShape }
}
