/** What a spec asks for, without values: every tensor of an architecture and how many parameters there are, whatever its size. */
import type { Shape } from '../base/shape.js'
import { sizeOf } from '../base/shape.js'
import { join, moduleKind, parseConfig, type ModuleSpec, type WeightRole } from './module.js'

export interface SpecTensor {
  /** As in a model file: "layer1.0.conv1.weight". */
  readonly path: string
  readonly shape: Shape
  /** 'state': kept with the model but not trained (running statistics). */
  readonly role: WeightRole | 'state'
  /** Kind of the module that it belongs to: 'batchNorm'. */
  readonly kind: string
}

/**
 * Every weight and state tensor of a spec, in the order of `build`. Nothing is allocated.
 *
 * - an unknown kind: ERR_MODEL_FORMAT; a configuration that its kind refuses: ERR_OPTION
 *
 * @example
 * specTensors(linear({ in: 3, out: 2 })).map((t) => t.path)   // ['weight', 'bias']
 */
export function specTensors(spec: ModuleSpec, path = ''): SpecTensor[] {
  const kind = moduleKind(spec.kind)
  const config = parseConfig(kind, spec.config)
  const at = (name: string): string => join(path, name)
  return [
    ...Object.entries(kind.weights(config)).map(([name, { shape, role }]) => ({ path: at(name), shape, role, kind: spec.kind })),
    ...Object.entries(kind.state?.(config) ?? {}).map(([name, { shape }]) => ({
      path: at(name),
      shape,
      role: 'state' as const,
      kind: spec.kind,
    })),
    ...Object.entries(spec.children ?? kind.children?.(config) ?? {}).flatMap(([name, child]) => specTensors(child, at(name))),
  ]
}

/**
 * Trainable parameters of a spec. Nothing is allocated; errors as in {@link specTensors}.
 *
 * @example
 * parameterCount(linear({ in: 3, out: 2 }))   // 8
 */
export function parameterCount(spec: ModuleSpec): number {
  return specTensors(spec).reduce((n, t) => (t.role === 'state' ? n : n + sizeOf(t.shape)), 0)
}
