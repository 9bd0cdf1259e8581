/**
 * Dropout for a pruned layer (Han, Pool, Tran, Dally 2015, equation 2): D_r = D_o sqrt(C_r / C_o), C the connections of the layer that reads what the dropout
 * leaves. A layer with fewer connections overfits less.
 */
import { join, Model, type Module } from '../../nn/index.js'
import { keptOf } from './candidates.js'

/** p of dropout for `kept` of `all` connections. */
export function rescaled(p: number, kept: number, all: number): number {
  return all === 0 ? p : p * Math.sqrt(kept / all)
}

export type DropoutRates = ReadonlyMap<string, number>

const kind = 'dropout'

function walk(module: Module, path: string, see: (module: Module, path: string) => void): void {
  see(module, path)
  for (const [name, child] of Object.entries(module.children)) walk(child, join(path, name), see)
}

/** p of every dropout by path. */
export function dropoutRates(model: Model): DropoutRates {
  const out = new Map<string, number>()
  walk(model.root, '', (m, path) => void (m.kind === kind && out.set(path, m.config.p as number)))
  return out
}

/** The same for retraining: by the first pruned layer behind each. */
export function rescaledDropout(model: Model): DropoutRates {
  const out = new Map<string, number>()
  let waiting: string[] = []
  const rates = dropoutRates(model)
  walk(model.root, '', (m, path) => {
    if (m.kind === kind) waiting.push(path)
    const layer = Object.values(m.weights).find((w) => w.shape.length >= 2)
    if (!layer) return
    const leaf = layer.trainable().find((l) => l.mask !== null)
    for (const at of waiting) out.set(at, leaf ? rescaled(rates.get(at)!, keptOf(leaf), leaf.value.size) : rates.get(at)!)
    waiting = []
  })
  for (const at of waiting) out.set(at, rates.get(at)!)
  return out
}

/** The model with other rates; everything else is shared. */
export function withDropout(model: Model, rates: DropoutRates): Model {
  const rebuild = (m: Module, path: string): Module => {
    const p = rates.get(path)
    const config = p === undefined ? m.config : { ...m.config, p }
    return {
      ...m,
      config,
      children: Object.fromEntries(Object.entries(m.children).map(([name, c]) => [name, rebuild(c, join(path, name))])),
    }
  }
  return new Model(rebuild(model.root, ''), model.info, model.extras)
}
