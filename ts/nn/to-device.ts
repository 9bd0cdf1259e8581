/** Models on other devices. */
import { device, onDevice, type DeviceSpec } from '../native/device.js'
import { callOp, scope, type Tensor } from '../tensor/index.js'
import { Model } from './model.js'
import type { Module } from './module.js'
import { weightKind, type Weight } from './weight/weight.js'

/**
 * The model on a device: a copy, with every weight, mask and statistic there; what layers share is shared again. The given one stays; each is disposed on its
 * own. Weights of kinds that are stored in another form than they compute in (quantized, sparse) are made again there from their stored parts.
 *
 * - a device that is not there: ERR_DEVICE; a kind of weight that needs an op the device has no kernel for: ERR_UNSUPPORTED
 *
 * @example
 * const there = toDevice(model, 'cpu')   // 'cuda' where there is one: device('auto')
 * there.dispose()
 */
export function toDevice(model: Model, spec: DeviceSpec): Model {
  const target = device(spec)
  const weights = new Map<Weight, Weight>()
  const tensors = new Map<Tensor, Tensor>()
  const once = <K, V>(known: Map<K, V>, of: K, make: () => V): V => {
    const found = known.get(of) ?? make()
    known.set(of, found)
    return found
  }
  const source = model.device
  const tensorThere = (t: Tensor): Tensor => once(tensors, t, () => (t.device === target ? callOp('copy', [t])[0]! : t.to(target)))
  const weightThere = (w: Weight): Weight =>
    once(weights, w, () => {
      const kind = weightKind(w.kind)
      const held = kind.adopt && w.tensors?.()
      if (held) return kind.adopt!(mapped(held, tensorThere))
      const parts = onDevice(source, () => w.parts())
      return onDevice(target, () => kind.restore(parts, w.config(), w.shape))
    })
  const there = (m: Module): Module => ({
    ...m,
    weights: mapped(m.weights, weightThere),
    state: mapped(m.state, tensorThere),
    children: mapped(m.children, there),
  })
  return scope(() => new Model(there(model.root), model.info, model.extras))
}

const mapped = <A, B>(of: Readonly<Record<string, A>>, f: (a: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(of).map(([name, a]) => [name, f(a)]))
