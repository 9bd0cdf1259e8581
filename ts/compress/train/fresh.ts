/** A model's values as if it had just been made: the control of every claim about weights that were trained. */
import type { RawTensor } from '../../base/dtype.js'
import { build, freshValues, Model, type Rng } from '../../nn/index.js'
import { toRaw } from '../../tensor/index.js'

/** Values of leaves ("fc1.weight/value") and state tensors ("norm.mean") of the same architecture, newly drawn. */
export function freshState(model: Model, rng: Rng): Map<string, RawTensor> {
  const made = new Model(build(model.spec(), freshValues(rng)), model.info)
  try {
    const out = new Map<string, RawTensor>()
    for (const [path, { value }] of made.leaves()) out.set(`${path}/value`, toRaw(value))
    for (const [path, t] of made.state()) out.set(path, toRaw(t))
    return out
  } finally {
    made.dispose()
  }
}
